"""A compose file as Compose reads it, for tests that start its services as processes, at other addresses and in other folders."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml


class Compose:
    """The services of a file.

    Args:
        file: the compose file.
        variables: values of its variables, as `.env` gives them.
    """

    def __init__(self, file: Path, variables: Mapping[str, str]) -> None:
        self.folder = file.parent
        self._services: dict[str, Any] = _interpolated(yaml.safe_load(file.read_text())["services"], variables)

    def command(self, service: str) -> list[str]:
        """Return the command of a service."""
        command: list[str] = self._services[service]["command"]
        return command

    def environment(self, service: str) -> dict[str, str]:
        """Return the variables of a service."""
        environment: dict[str, str] = self._services[service].get("environment", {})
        return environment

    def mounted(self, service: str, inside: str) -> Path:
        """Return the file that a service finds at a path.

        Raises:
            KeyError: nothing is mounted there.
        """
        mounts: list[list[str]] = [mount.split(":") for mount in self._services[service]["volumes"]]
        return self.folder / {place: source for source, place, *_ in mounts}[inside]


def moved(text: str, places: Mapping[str, str]) -> str:
    """Return a text with other addresses and folders.

    Args:
        text: of a configuration, a command or a variable.
        places: the places that are in it, each with the one that it moves to.

    Raises:
        AssertionError: a place is not in the text, so that the test would use the one of the container.
    """
    for old, new in places.items():
        assert old in text, f"{old} is not in {text!r}"
        text = text.replace(old, new)
    return text


def _interpolated(value: Any, variables: Mapping[str, str]) -> Any:
    """Return a value with `$$`, `${NAME:?message}` and `${NAME:-default}` replaced as Compose does."""
    if isinstance(value, dict):
        return {key: _interpolated(inner, variables) for key, inner in value.items()}
    if isinstance(value, list):
        return [_interpolated(inner, variables) for inner in value]
    if not isinstance(value, str):
        return value

    def replaced(found: re.Match[str]) -> str:
        name, operator, rest = found.groups()
        if name is None:
            return "$"
        assert operator == "-" or variables.get(name), f"{name}: {rest}"
        return variables.get(name) or str(rest)

    return re.sub(r"\$\$|\$\{(\w+):([?-])([^}]*)\}", replaced, value)
