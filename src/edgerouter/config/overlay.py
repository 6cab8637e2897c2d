"""Read the environment, and lay `EDGEROUTER__A__B=value` variables over the configuration: docs/decisions/012."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Final, Self

from edgerouter.config.protection import protect_reference
from edgerouter.config.tree import Fault, Node, Origin
from edgerouter.config.yaml_file import parse_value
from edgerouter.errors import ConfigurationError

if TYPE_CHECKING:
    from pydantic_settings import BaseSettings

PREFIX: Final = "EDGEROUTER__"
FILE_VARIABLE: Final = "EDGEROUTER_CONFIG"
"""Names the configuration file."""
SECRETS_DIR: Final = "EDGEROUTER_SECRETS_DIR"
"""Names a folder whose files stand for variables: a file's name is the variable's, its content the value."""
_NESTING: Final = "__"
OWN: Final = "EDGEROUTER_"
"""Prefix of the names of all our own variables."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST_BYTES: Final = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the environment gives."""

    name: str
    """The variable, as it was asked for."""
    label: str
    """Shown to the user: the variable, or the file that stands for it."""
    text: str = field(repr=False)


class Environment:
    """The variables of a process, and behind them the files of the folder that `EDGEROUTER_SECRETS_DIR` names.

    Args:
        environ: the variables.

    Raises:
        ConfigurationError: the folder cannot be used.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._folder = Path(named).absolute() if (named := environ.get(SECRETS_DIR, "").strip()) else None
        try:
            there = self._folder is None or self._folder.exists()
        except OSError as error:
            raise ConfigurationError(f"{SECRETS_DIR}: {self._folder}: {error.strerror or error}") from None
        if not there:
            raise ConfigurationError(f"{SECRETS_DIR}: {self._folder} is not there")

    @classmethod
    def readable(cls, environ: Mapping[str, str]) -> Self:
        """Return the environment without the folder of secrets where it cannot be read: often the router alone may."""
        try:
            around = cls(environ)
            list(around.ours())
        except ConfigurationError:
            return cls({name: value for name, value in environ.items() if name != SECRETS_DIR})
        return around

    def read(self, settings: type[BaseSettings]) -> dict[str, Given]:
        """Return what is given for each field of a settings model, by the first of the field's aliases that is set."""
        from pydantic_settings import EnvSettingsSource  # noqa: PLC0415  (a start with a file needs none of it)

        by_name = {name.lower(): (place, text) for name, place, text in self._set()}
        source = EnvSettingsSource(settings, case_sensitive=False)
        source.env_vars = {name: text for name, (_, text) in by_name.items()}
        found: dict[str, Given] = {}
        for name, info in settings.model_fields.items():
            text, alias, _ = source.get_field_value(info, name)
            if text is not None:
                found[name] = Given(alias, by_name[alias.lower()][0] + alias, text)
        return found

    def ours(self) -> Iterator[Given]:
        """Yield the variables that set something of the configuration, those of the folder first, because the others win."""
        for name, place, text in self._set():
            if name.upper().startswith(PREFIX):
                yield Given(name, place + name, text)

    def names(self) -> set[str]:
        """Return the names of the variables that are set, files of the folder included."""
        return {name for name, _, _ in self._set()}

    def misnamed(self) -> Iterator[str]:
        """Yield likely typos, such as `EDGEROUTER_A__B`: one underscore is missing after the first word.

        Names with single underscores alone do not count: Kubernetes makes such for a service of our name.
        """
        for name in self._environ:
            rest = name.upper().removeprefix(OWN)
            if rest != name.upper() and not rest.startswith("_") and _NESTING in rest:
                yield name

    def _set(self) -> Iterator[tuple[str, str, str]]:
        """Yield name, folder and text of every variable; one that is empty or blank, as composing tools leave it, is not set."""
        for place, texts in ((f"{self._folder}/", self._files), ("", self._environ)):
            for name, text in texts.items():
                if text.strip():
                    yield name, place, text

    @cached_property
    def _files(self) -> dict[str, str]:
        """Files of the folder that can stand for a variable. Others, such as certificates, may lie beside them."""
        found: dict[str, str] = {}
        if self._folder is None:
            return found
        file = self._folder
        try:
            for file in sorted(self._folder.iterdir()):
                if _VARIABLE.fullmatch(file.name) and file.is_file() and file.stat().st_size <= _MOST_BYTES:
                    with suppress(UnicodeDecodeError):
                        found[file.name] = file.read_text("utf-8")
                        protect_reference(found[file.name].strip())
        except OSError as error:
            raise ConfigurationError(f"{SECRETS_DIR}: {file}: {error.strerror or type(error).__name__}") from None
        return found


def overlay(tree: Node, environment: Environment) -> list[Fault]:
    """Change the tree in place.

    Letter case does not matter, and `_` in a variable also stands for the `-` of a name that the file has: with a sink
    `plant-alerts` in the file, `EDGEROUTER__SINKS__PLANT_ALERTS__QUEUE` is its queue.

    Returns:
        What is wrong, and with which variable.
    """
    problems: list[Fault] = [
        (Origin(name), f"means nothing; a variable of the configuration begins with {PREFIX} and two underscores")
        for name in environment.misnamed()
    ]
    taken: dict[tuple[str, ...], Given] = {}
    chosen: dict[tuple[str, ...], Given] = {}
    for given in environment.ours():
        steps = tuple(given.name[len(PREFIX) :].lower().split(_NESTING))
        if not all(steps):
            problems.append((Origin(given.label), "an empty name between two `__`"))
            continue
        other = taken.get(steps)
        if other is not None and other.label == other.name:
            first, second = sorted((given.label, other.label))
            problems.append((Origin(second), f"is the same as {first}, in other letters"))
            continue
        taken[steps] = chosen[steps] = given
    # the shorter first: one that sets a whole section comes before one that changes a value in it
    for steps, given in sorted(chosen.items(), key=lambda item: (len(item[0]), item[1].name)):
        _set(tree, steps, parse_value(given.text, given.label))
    return problems


def _set(tree: Node, steps: tuple[str, ...], new: Node) -> None:
    here = tree
    for step in steps[:-1]:
        entries = _entries(here, new.origin)
        key = key_of(entries, step)
        here = entries.setdefault(key, Node({}, new.origin, new.origin))
    entries = _entries(here, new.origin)
    _put(entries, key_of(entries, steps[-1]), new)


def _entries(node: Node, origin: Origin) -> dict[str, Node]:
    if not isinstance(node.value, dict):
        # a variable names something inside of it, so it wins over a scalar or a list
        node.value, node.origin, node.text = {}, origin, None
    return node.value


def _put(entries: dict[str, Node], key: str, new: Node) -> None:
    old = entries.get(key)
    if old is not None and isinstance(old.value, dict) and isinstance(new.value, dict):
        for inner, node in new.value.items():
            _put(old.value, key_of(old.value, inner), node)
    else:
        entries[key] = new


def key_of(entries: Mapping[str, Node], step: str) -> str:
    """Return the key that is meant: as it stands, else in other letters, else with `-` for `_`; else a new one."""
    if step in entries:
        return step
    for same in (str.lower, folded):
        for key in entries:
            if same(key) == same(step):
                return key
    return step


def folded(name: str) -> str:
    """Return a name as a variable writes it: `aws-sqs` -> `aws_sqs`."""
    return name.lower().replace("-", "_")
