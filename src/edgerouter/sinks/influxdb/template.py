"""Names and values of points from templates, which may read the payload."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from edgerouter.message import Message
from edgerouter.sink import SinkContext
from edgerouter.templates import Part, parse, reader

Scalar: TypeAlias = str | float | bool | None
"""Value of a field; `None` if the message does not have it."""
Read: TypeAlias = Callable[[Message, Any], Scalar]
"""Reads a value from a message and its payload as JSON (or text)."""

_FIELDS: Final = ("topic", "host", "property", "payload")


def check(text: str) -> str:
    """Return the template unchanged.

    Raises:
        ValueError: it is not one.
    """
    parse(text, _FIELDS)
    return text


def value_of(text: str, names: SinkContext) -> Read:
    """Return the function that reads a template's value; a single placeholder keeps its type."""
    reads = [_read(part, names) for part in parse(text, _FIELDS)]
    if len(reads) == 1:
        return reads[0]
    return lambda message, payload: "".join([_as_text(read(message, payload)) for read in reads])


def text_of(text: str, names: SinkContext) -> Callable[[Message, Any], str]:
    """Return the function that renders a template as text; what a message does not have is empty."""
    value = value_of(text, names)
    return lambda message, payload: _as_text(value(message, payload))


def _read(part: Part, names: SinkContext) -> Read:
    if isinstance(part, str) or part.name != "payload":
        text = reader(part, names)
        return lambda message, _payload: text(message)
    return _whole if part.argument is None else _member(part.argument.split("."))


def _whole(message: Message, _payload: Any) -> Scalar:
    return message.payload.decode()


def _member(path: list[str]) -> Read:
    def member(_message: Message, payload: Any) -> Scalar:
        here = payload
        for step in path:
            here = here.get(step) if isinstance(here, Mapping) else None
        return here if isinstance(here, str | int | float | bool) else None

    return member


def _as_text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
