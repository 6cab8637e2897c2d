"""Values of EdgeX's variables."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, TypeAlias

from edgerouter.units import parse_duration
from edgerouter.variables import FromVariable

Given: TypeAlias = Mapping[str, str]
"""Texts of the variables that are set."""
FUNCTIONS: Final = "WRITABLE_PIPELINE_FUNCTIONS_"
"""Beginning of the variables of a pipeline's functions."""
_TRUE: Final = frozenset({"1", "t", "T", "true", "TRUE", "True"})
_FALSE: Final = frozenset({"0", "f", "F", "false", "FALSE", "False"})
"""Go's `strconv.ParseBool`."""


def flag(given: Given, name: str) -> bool:
    """Return a switch, off by default.

    Raises:
        ValueError: it is neither on nor off.
    """
    text = given.get(name, "false")
    if text not in _TRUE | _FALSE:
        raise ValueError(f"{name}: should be true or false")
    return text in _TRUE


def number(given: Given, name: str, default: int, most: int) -> int:
    """Return a whole number from 0 to `most`.

    Raises:
        ValueError: it is another.
    """
    text = given.get(name, str(default))
    if not (text.isascii() and text.isdigit() and int(text) <= most):
        raise ValueError(f"{name}: should be a whole number from 0 to {most}")
    return int(text)


def seconds(given: Given, fields: Mapping[str, str]) -> dict[str, FromVariable]:
    """Return fields whose values are whole seconds, at least one, from variables that hold times such as `60s`.

    Raises:
        ValueError: one is not a time.
    """
    found = {}
    for field, name in fields.items():
        if name in given:
            try:
                found[field] = FromVariable(name, max(1, round(parse_duration(given[name]))))
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from None
    return found


def literal(text: str) -> str:
    """Return a template that stands for exactly this text."""
    return text.replace("{", "{{").replace("}", "}}")


def begin_with(given: Given, prefix: str) -> list[str]:
    """Return the variables that are set and begin so, sorted."""
    return sorted(name for name in given if name.startswith(prefix))


def listed(names: list[str], verb: str = "") -> str:
    """Join names, with the form of "is" that fits where `verb` is empty."""
    joined = " and ".join(filter(None, [", ".join(names[:-1]), names[-1]]))
    return f"{joined} {verb or ('is' if len(names) == 1 else 'are')}"
