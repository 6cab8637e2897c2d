"""Text with placeholders such as `{topic[1:]}`: the syntax of every template, as docs/reference/templates.md describes it.

A target (object keys, topics, points) names the fields that it knows, and escapes and bounds the text in its own way.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated, Final, Protocol

from pydantic import AfterValidator

from edgerouter.message import Message
from edgerouter.topic_cache import TopicCache

MESSAGE_FIELDS: Final = ("topic", "property", "host", "sink", "spool")
"""Fields that every sink can read from a message and its context."""

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER: Final = re.compile(r"([A-Za-z_]+)(?:\[([^\]]*)\])?(?::(.*))?", re.DOTALL)
_INDEX: Final = re.compile(r"-?\d+")
_RANGE: Final = re.compile(r"(-?\d+)?:(-?\d+)?")
_NAMED: Final = {"property": "user property", "attribute": "attribute"}
"""Fields that need a name in brackets, as error messages call them."""
_WITH_FORMAT: Final = frozenset({"time", "first", "last", "sequence"})
_BY_TOPIC: Final = frozenset({"topic", "host", "sink"})
"""Fields that are equal for all messages of one topic."""


class Names(Protocol):
    """Values of `{host}`, `{sink}` and `{spool}`; the context of a sink or step has them."""

    @property
    def name(self) -> str: ...

    @property
    def host(self) -> str: ...

    @property
    def spool(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Placeholder:
    """One `{name[argument]:format}` of a template."""

    text: str
    """The characters between the braces."""
    start: int
    """Place of its brace in the template."""
    name: str
    argument: str | None
    format: str | None

    def wrong(self, reason: str) -> ValueError:
        """Return the error to raise for this placeholder."""
        return ValueError(f"{{{self.text}}}: {reason}")


Part = str | Placeholder
"""Literal text, or a placeholder."""


def parse(text: str, fields: Sequence[str]) -> list[Part]:
    """Split a template into placeholders and the literal text between them; no two literals are neighbours.

    Args:
        text: the template; `{{` and `}}` are braces.
        fields: the names that the target knows.

    Raises:
        ValueError: the template is malformed; the message names the placeholder and the nearest known field.
    """
    parts: list[Part] = []
    literal = ""
    end = 0
    for match in _TOKEN.finditer(text):
        literal += text[end : match.start()]
        end = match.end()
        if match[1] is not None:
            parts += [literal, _placeholder(match[1], match.start(), fields)]
            literal = ""
        elif len(match[0]) == 2:
            literal += match[0][0]
        else:
            raise ValueError(f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for a brace that is not a placeholder")
    return [part for part in (*parts, literal + text[end:]) if part]


def topic_decides(parts: Sequence[Part]) -> bool:
    """Return True if all messages of a topic give the same text, so that it can be cached by topic."""
    return all(isinstance(part, str) or part.name in _BY_TOPIC for part in parts)


def topic_text(
    placeholder: Placeholder, one: Callable[[str], str] = str, several: Callable[[str], str] = str
) -> Callable[[str], str]:
    """Return the function that renders `{topic}`, `{topic[0]}` or `{topic[1:]}`; levels that a topic lacks are empty.

    Args:
        placeholder: its argument chooses the levels.
        one: escapes a single level.
        several: escapes a topic, or a range of its levels.
    """
    if placeholder.argument is None:
        return several
    levels = _levels(placeholder)
    if _INDEX.fullmatch(placeholder.argument):
        return lambda topic: one("".join(topic.split("/")[levels]))
    return lambda topic: several("/".join(kept)) if (kept := topic.split("/")[levels]) else ""


def user_property(name: str | None) -> Callable[[Message], str]:
    """Return the function that reads a user property: the first of this name, empty when missing."""

    def value(message: Message) -> str:
        if message.properties is not None:
            for key, content in message.properties.user:
                if key == name:
                    return content
        return ""

    return value


def reader(part: Part, names: Names) -> Callable[[Message], str]:
    """Return the function that renders a literal or one of `MESSAGE_FIELDS`, unescaped."""
    if isinstance(part, str):
        return lambda _message: part
    if part.name == "topic":
        text = topic_text(part)
        return lambda message: text(message.topic)
    if part.name == "property":
        return user_property(part.argument)
    if part.name == "spool":
        return lambda message: message.spool or names.spool
    constant = names.host if part.name == "host" else names.name
    return lambda _message: constant


class MessageTemplate:
    """A template with `{topic}`, `{property[name]}`, `{host}`, `{sink}` and `{spool}`, and nothing escaped.

    The text is cached by topic, within the bounds of `TopicCache`, unless a property or the spool decides it.

    Args:
        text: the template.
        names: what `{host}`, `{sink}` and `{spool}` stand for.
        finish: makes the final text, which is what the cache holds; an exception passes to the caller of `of`.

    Raises:
        ValueError: the template is malformed, with the reason.
    """

    def __init__(self, text: str, names: Names, finish: Callable[[str], str] = str) -> None:
        parts = parse(text, MESSAGE_FIELDS)
        readers = [reader(part, names) for part in parts]

        def render(message: Message) -> str:
            return finish("".join([read(message) for read in readers]))

        self._render = render
        by_topic: TopicCache[str, str] = TopicCache(lambda topic: render(Message(topic, b"", 0)))
        self._by_topic = by_topic if topic_decides(parts) else None

    def of(self, message: Message) -> str:
        """Return the text for a message."""
        return self._by_topic[message.topic] if self._by_topic is not None else self._render(message)


def _checked(text: str) -> str:
    parse(text, MESSAGE_FIELDS)
    return text


TemplateText = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds the text of a `MessageTemplate`."""


def _placeholder(text: str, start: int, fields: Sequence[str]) -> Placeholder:
    match = _PLACEHOLDER.fullmatch(text)
    name = match[1] if match else text
    if match is None or name not in fields:
        near = get_close_matches(name, fields, 1)
        hint = f"did you mean {{{near[0]}}}?" if near else "known are " + ", ".join(map(_example, fields))
        raise ValueError(f"unknown placeholder {{{text}}}; {hint}")
    found = Placeholder(text, start, name, match[2], match[3])
    if found.format is not None and name not in _WITH_FORMAT:
        raise found.wrong(f"{name} takes no format")
    _check_argument(found)
    return found


def _check_argument(found: Placeholder) -> None:
    name = found.name
    if name in _NAMED and not found.argument:
        raise found.wrong(f"write the name of the {_NAMED[name]} in brackets, as in {{{name}[device]}}")
    if found.argument is None or name in _NAMED:
        return
    if name == "topic":
        _levels(found)
    elif name != "payload":
        raise found.wrong(f"{name} takes nothing in brackets")
    elif not found.argument:
        raise found.wrong("write the path of a member in brackets, as in {payload[a.b]}")


def _levels(placeholder: Placeholder) -> slice:
    argument = placeholder.argument or ""
    if _INDEX.fullmatch(argument):
        return slice(int(argument), int(argument) + 1 or None)
    if (match := _RANGE.fullmatch(argument)) is None:
        raise placeholder.wrong("a level is a number as in {topic[0]} or {topic[-1]}, or a range as in {topic[1:]}")
    return slice(*(int(bound) if bound else None for bound in match.groups()))


def _example(field: str) -> str:
    return f"{{{field}[name]}}" if field in _NAMED else f"{{{field}}}"
