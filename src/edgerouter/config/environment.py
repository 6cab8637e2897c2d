"""Lays `EDGEROUTER__A__B=value` variables over the configuration."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from edgerouter.config.document import Node, Origin, parse_value

PREFIX: Final = "EDGEROUTER__"
_NESTING: Final = "__"


def variables(environ: Mapping[str, str]) -> dict[str, str]:
    """Those of ours that are set; an empty one counts as not set, as composing tools leave them behind."""
    return {name: value for name, value in environ.items() if name.upper().startswith(PREFIX) and value.strip()}


def overlay(tree: Node, environ: Mapping[str, str]) -> list[tuple[Origin, str]]:
    """Change the tree in place.

    Letter case does not matter, and `_` in a variable also stands for the `-` of a name that the file has: with a sink
    `plant-alerts` in the file, `EDGEROUTER__SINKS__PLANT_ALERTS__QUEUE` is its queue.

    Returns:
        What is wrong, and with which variable.
    """
    problems: list[tuple[Origin, str]] = []
    taken: dict[tuple[str, ...], str] = {}
    ours = variables(environ)
    # the shorter first: one that sets a whole section comes before one that changes a value in it
    for name in sorted(ours, key=lambda name: (name.count(_NESTING), name)):
        steps = tuple(name[len(PREFIX) :].lower().split(_NESTING))
        if not all(steps):
            problems.append((Origin(name), "an empty name between two `__`"))
        elif (other := taken.setdefault(steps, name)) != name:
            problems.append((Origin(name), f"is the same as {other}, in other letters"))
        else:
            _set(tree, steps, parse_value(ours[name], name))
    return problems


def _set(tree: Node, steps: tuple[str, ...], new: Node) -> None:
    here = tree
    for step in steps[:-1]:
        entries = _entries(here, new.origin)
        key = _key(entries, step)
        here = entries.setdefault(key, Node({}, new.origin, new.origin))
    entries = _entries(here, new.origin)
    _put(entries, _key(entries, steps[-1]), new)


def _entries(node: Node, origin: Origin) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        # a variable names something inside of it, so it wins over a scalar or a list
        node.value, node.origin, node.text = {}, origin, None
    return node.value


def _put(entries: dict[str, Node], key: str, new: Node) -> None:
    old = entries.get(key)
    if old is not None and isinstance(old.value, dict) and isinstance(new.value, dict):
        for inner, node in new.value.items():
            _put(old.value, _key(old.value, inner), node)
    else:
        entries[key] = new


def _key(entries: Mapping[str, Node], step: str) -> str:
    """The key that is meant: as it stands, else in other letters, else with `-` for `_`; else a new one."""
    if step in entries:
        return step
    folded = step.lower()
    for same in (str.lower, lambda key: key.lower().replace("-", "_")):
        for key in entries:
            if same(key) == folded:
                return key
    return step
