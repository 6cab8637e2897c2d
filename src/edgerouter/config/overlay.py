"""The environment: reading it as pydantic-settings does, and laying `EDGEROUTER__A__B=value` variables over the configuration."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Final, Self

from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings.sources.utils import parse_env_vars

from edgerouter.config.protection import protect_reference
from edgerouter.config.tree import Fault, Node, Origin
from edgerouter.config.yaml_file import parse_value
from edgerouter.errors import ConfigurationError

PREFIX: Final = "EDGEROUTER__"
FILE_VARIABLE: Final = "EDGEROUTER_CONFIG"
"""Names the configuration file."""
SECRETS_DIR: Final = "EDGEROUTER_SECRETS_DIR"
"""Names a folder whose files stand for variables: a file's name is the variable's, its content the value."""
_NESTING: Final = "__"
OWN: Final = "EDGEROUTER_"
"""What the names of all our own variables begin with."""
_VARIABLE: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")
_MOST_BYTES: Final = 1024 * 1024


class _Sections(BaseSettings):
    """Whatever the configuration file may hold."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, env_nested_delimiter=_NESTING)


class _Variables(EnvSettingsSource):
    """pydantic-settings' source of variables over an environment that is handed in."""

    def __init__(self, settings: type[BaseSettings], environ: Mapping[str, str]) -> None:
        self._environ = environ
        super().__init__(settings, case_sensitive=False, env_ignore_empty=True)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        # one of blanks alone counts as empty too, as composing tools leave it behind
        set_ones = {name: value for name, value in self._environ.items() if value.strip()}
        return parse_env_vars(set_ones, self.case_sensitive, self.env_ignore_empty, self.env_parse_none_str)


@dataclass(frozen=True, slots=True)
class Given:
    """A value that the environment gives."""

    name: str
    """The variable, as it was asked for."""
    label: str
    """What the user reads: the variable, or the file that stands for it."""
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
        """What is given for each field of a settings model, by the first of the field's aliases that is set."""
        found: dict[str, Given] = {}
        for source, place in self._sources(settings):
            for name, info in settings.model_fields.items():
                text, alias, _ = source.get_field_value(info, name)
                if name not in found and isinstance(text, str) and text.strip():
                    found[name] = Given(alias, place + alias, text)
        return found

    def ours(self) -> Iterator[Given]:
        """The variables that set something of the configuration, those of the folder first, because the others win over them."""
        for source, place in self._sources(_Sections):
            if place:
                for key, text in source.env_vars.items():
                    if key.upper().startswith(PREFIX) and text:
                        yield Given(key, place + key, text)
        # not through pydantic-settings, which takes one of two names that differ in letter case alone and does not say so
        for name, text in self._environ.items():
            if name.upper().startswith(PREFIX) and text.strip():
                yield Given(name, name, text)

    def names(self) -> set[str]:
        """Names of the variables that are set, files of the folder included."""
        return {name for source in (self._environ, *self._read_files()) for name, text in source.items() if text.strip()}

    def misnamed(self) -> Iterator[str]:
        """Variables that nobody but us can be meant by, and that mean nothing: one underscore is missing after the first word.

        Those of one underscore each are let be: Kubernetes makes such for a service of our name.
        """
        for name in self._environ:
            rest = name.upper().removeprefix(OWN)
            if rest != name.upper() and not rest.startswith("_") and _NESTING in rest:
                yield name

    def _sources(self, settings: type[BaseSettings]) -> list[tuple[EnvSettingsSource, str]]:
        """Those that win first, each with what stands before a name in its labels."""
        sources: list[tuple[EnvSettingsSource, str]] = [(_Variables(settings, self._environ), "")]
        if self._folder is not None:
            sources.append((_Variables(settings, self._files), f"{self._folder}/"))
        return sources

    def _read_files(self) -> list[Mapping[str, str]]:
        return [self._files] if self._folder is not None else []

    @cached_property
    def _files(self) -> dict[str, str]:
        """Those of the folder that can stand for a variable. Beside them may lie others, such as certificates."""
        assert self._folder is not None
        found: dict[str, str] = {}
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
    """The key that is meant: as it stands, else in other letters, else with `-` for `_`; else a new one."""
    if step in entries:
        return step
    for same in (str.lower, folded):
        for key in entries:
            if same(key) == same(step):
                return key
    return step


def folded(name: str) -> str:
    """A name as a variable writes it: `aws-sqs` -> `aws_sqs`."""
    return name.lower().replace("-", "_")
