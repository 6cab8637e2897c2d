"""Templates with placeholders for parts of a message, used for InfluxDB's names and values."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from edgerouter.message import Message
from edgerouter.sink import SinkContext

Scalar: TypeAlias = str | float | bool | None
"""Value of a field; `None` if the message does not have it."""
Read: TypeAlias = Callable[[Message, Any, SinkContext], Scalar]
"""Reads a placeholder's value from a message, its payload as JSON (or text), and the names."""

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER: Final = re.compile(r"(topic|host|payload|property)(?:\[([^\]]+)\])?")
_INDEX: Final = re.compile(r"-?\d{1,4}")


@dataclass(frozen=True, slots=True)
class Template:
    """A parsed template."""

    parts: tuple[str | Read, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Parse a template; `{{` and `}}` are braces.

        Raises:
            ValueError: the template is malformed, with the reason.
        """
        parts: list[str | Read] = []
        end = 0
        for match in _TOKEN.finditer(text):
            parts.append(text[end : match.start()])
            end = match.end()
            if match[0] in ("{{", "}}"):
                parts.append(match[0][0])
            elif match[1] is None:
                raise ValueError(f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for a literal brace")
            else:
                parts.append(_placeholder(match[1]))
        parts.append(text[end:])
        return cls(tuple(part for part in parts if part != ""))

    def text(self, message: Message, payload: Any, names: SinkContext) -> str:
        """Return the filled template; parts that the message lacks are empty."""
        return "".join([part if isinstance(part, str) else _as_text(part(message, payload, names)) for part in self.parts])

    def value(self, message: Message, payload: Any, names: SinkContext) -> Scalar:
        """Return the same as `text`, but a single placeholder keeps its type."""
        if len(self.parts) == 1 and not isinstance(part := self.parts[0], str):
            return part(message, payload, names)
        return self.text(message, payload, names)


def _placeholder(text: str) -> Read:
    match = _PLACEHOLDER.fullmatch(text)
    if match is None:
        raise ValueError(
            f"unknown placeholder {{{text}}}; known are {{topic}}, {{topic[1]}}, {{host}}, {{property[name]}}, {{payload}},"
            " {payload[a.b]}"
        )
    name, argument = match[1], match[2]
    if name == "host" and argument is None:
        return lambda _message, _payload, names: names.host
    if name == "topic":
        return _topic(text, argument)
    if name == "property" and argument is not None:
        return lambda message, _payload, _names: dict(message.properties.user).get(argument) if message.properties else None
    if name == "payload":
        return _whole if argument is None else _member(argument.split("."))
    raise ValueError(f"{{{text}}}: {name} takes {'nothing' if name == 'host' else 'a name'} in brackets")


def _topic(text: str, argument: str | None) -> Read:
    if argument is None:
        return lambda message, _payload, _names: message.topic
    if not _INDEX.fullmatch(argument):
        raise ValueError(f"{{{text}}}: a level is a number as in {{topic[0]}} or {{topic[-1]}}")
    index = int(argument)

    def level(message: Message, _payload: Any, _names: SinkContext) -> Scalar:
        levels = message.topic.split("/")
        return levels[index] if -len(levels) <= index < len(levels) else None

    return level


def _whole(message: Message, _payload: Any, _names: SinkContext) -> Scalar:
    return message.payload.decode()


def _member(path: list[str]) -> Read:
    def member(_message: Message, payload: Any, _names: SinkContext) -> Scalar:
        here = payload
        for step in path:
            here = here.get(step) if isinstance(here, Mapping) else None
        return here if isinstance(here, str | int | float | bool) else None

    return member


def _as_text(value: Scalar) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value)
