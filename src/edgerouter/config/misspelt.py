"""Find misspelt environment variables: those that were meant for the router and are not read."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Final

from pydantic import BaseModel

from edgerouter.config.fields import ENTRY, ITEM, fields
from edgerouter.config.model import PLUGIN_SECTIONS, SECTIONS, SinkPolicies
from edgerouter.config.overlay import FILE_VARIABLE, OWN, PREFIX, SECRETS_DIR, folded
from edgerouter.config.tree import Node

_OF_KUBERNETES: Final = re.compile(r"_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(PROTO|PORT|ADDR))?)?)$")
"""Kubernetes gives every pod such variables for each service, one named `edgerouter` included."""
_LONG: Final = 20
"""Names from this length on may differ by two letters; `MQTT_PORT` is not a misspelt `MQTT_HOST`."""


def misspelt(names: Iterable[str], tree: Node) -> list[str]:
    """Return a line for each variable that nearly is one of `EDGEROUTER__...`, `EDGEROUTER_CONFIG` and the like.

    Args:
        names: of the variables that are set.
        tree: the configuration, whose sinks and sources variables may name.
    """
    plain = {FILE_VARIABLE, SECRETS_DIR, "EDGEROUTER_SECRET_STORE_ORDER"}
    by_letters = {_one_underscore(name): name for name in (*plain, *_variables(tree))}
    lines = []
    for name in sorted(names):
        upper = name.upper()
        if upper in plain or upper.startswith(PREFIX) or _OF_KUBERNETES.search(upper):
            continue
        flat = _one_underscore(upper)
        if near := by_letters.get(flat) or by_letters.get(nearest_name(flat, by_letters) or ""):
            if near != upper:
                lines.append(unread_line(name, near))
        elif flat.startswith(tuple(f"{OWN}{section.upper()}_" for section in (*SECTIONS, *PLUGIN_SECTIONS))):
            lines.append(
                f"{name} is not read: a variable of the configuration has two underscores between its parts, as {PREFIX}A__B"
            )
    return lines


def unread_line(name: str, near: str) -> str:
    """Return the line about a variable whose name is nearly that of another."""
    return f"{name} is not read; did you mean {near}?"


def _one_underscore(name: str) -> str:
    return re.sub("_+", "_", name.upper())


def _variables(tree: Node) -> Iterator[str]:
    """Yield the variables of all fields, and of those that every plugin in the tree has."""
    yield PREFIX + "HOST"
    for section, model in SECTIONS.items():
        yield from _of_model(f"{PREFIX}{section.upper()}__", model)
    for section in PLUGIN_SECTIONS:
        for name, entry in tree.entries(section).items():
            prefix = f"{PREFIX}{section.upper()}__{folded(name).upper()}__"
            yield prefix + "TYPE"
            yield from (prefix + folded(key).upper() for key in entry.entries())
            if section == "sinks":
                yield from _of_model(prefix, SinkPolicies)


def _of_model(prefix: str, model: type[BaseModel]) -> Iterator[str]:
    # a variable names no item of a list
    for field in fields(model):
        if not any(name.endswith((ITEM, ENTRY)) for name in field.path):
            yield prefix + "__".join(field.path).upper()


def nearest_name(name: str, known: Iterable[str]) -> str | None:
    """Return the name that differs by one letter, or by two where it is long; swapped neighbours count as one."""
    most = 2 if len(name) >= _LONG else 1
    best = min(((_distance(name, each, most), each) for each in known), default=(most + 1, ""))
    return best[1] if best[0] <= most else None


def _distance(one: str, other: str, most: int) -> int:
    """Return the letters to change, add, leave out or swap, counted up to `most + 1`."""
    if abs(len(one) - len(other)) > most:
        return most + 1
    before: list[int] = []
    row = list(range(len(other) + 1))
    for i, letter in enumerate(one, start=1):
        last, before, row = before, row, [i]
        for j, match in enumerate(other, start=1):
            cost = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (letter != match))
            if i > 1 and j > 1 and letter == other[j - 2] and one[i - 2] == match:
                cost = min(cost, last[j - 2] + 1)
            row.append(cost)
        if min(row) > most:
            return most + 1
    return row[-1]
