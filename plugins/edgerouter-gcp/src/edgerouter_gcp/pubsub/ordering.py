"""Ordering keys from a template, in the syntax of object keys."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated

from pydantic import AfterValidator

from edgerouter import Message, SinkContext, TopicCache

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER = re.compile(r"(topic|property|host|spool|sink)(?:\[([^\]]+)\])?")
_INDEX = re.compile(r"-?\d+")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")

Piece = Callable[[Message, SinkContext], str]


class OrderingTemplate:
    """A parsed template such as `{topic}` or `{host}/{topic[1]}`."""

    def __init__(self, text: str, context: SinkContext) -> None:
        pieces, by_topic_alone = _parse(text)

        def render(message: Message) -> str:
            return "".join([piece(message, context) for piece in pieces])

        self._render = render

        of_topic: TopicCache[str, str] = TopicCache(lambda topic: render(Message(topic, b"", 0)))
        self._of_topic = of_topic if by_topic_alone else None

    def key_of(self, message: Message) -> str:
        """The ordering key of a message; empty = no order is asked for."""
        return self._of_topic[message.topic] if self._of_topic is not None else self._render(message)


def _checked(text: str) -> str:
    _parse(text)
    return text


OrderingKey = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds an ordering-key template."""


def _parse(text: str) -> tuple[list[Piece], bool]:
    """The pieces, and whether they depend on nothing but the topic."""
    pieces: list[Piece] = []
    by_topic_alone = True
    end = 0
    for match in _TOKEN.finditer(text):
        literal = text[end : match.start()]
        end = match.end()
        if match[0] in ("{", "}"):
            raise ValueError(f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for a brace that is not a placeholder")
        if match[1] is None:
            literal += match[0][0]
        pieces.append(_literal(literal))
        if match[1] is not None:
            pieces.append(_placeholder(match[1]))
            by_topic_alone = by_topic_alone and not match[1].startswith("property")
    pieces.append(_literal(text[end:]))
    return pieces, by_topic_alone


def _literal(text: str) -> Piece:
    return lambda _message, _context: text


def _placeholder(text: str) -> Piece:
    match = _PLACEHOLDER.fullmatch(text)
    if match is None:
        raise ValueError(
            f"unknown placeholder {{{text}}}; known: {{topic}} {{topic[0]}} {{property[name]}} {{host}} {{sink}} {{spool}}"
        )
    name, argument = match[1], match[2]
    if name == "topic":
        return _topic(text, argument)
    if name == "property":
        if argument is None:
            raise ValueError("write the name of the user property in brackets, as in {property[device]}")
        return lambda message, _context: _user_property(message, argument)
    if argument is not None:
        raise ValueError(f"{{{text}}}: {name} takes nothing in brackets")
    if name == "host":
        return lambda _message, context: context.host
    if name == "sink":
        return lambda _message, context: context.name
    return lambda _message, context: context.spool


def _topic(text: str, argument: str | None) -> Piece:
    if argument is None:
        return lambda message, _context: message.topic
    if _INDEX.fullmatch(argument):
        index = int(argument)

        def level(message: Message, _context: SinkContext) -> str:
            levels = message.topic.split("/")
            return levels[index] if -len(levels) <= index < len(levels) else ""

        return level
    if match := _SLICE.fullmatch(argument):
        part = slice(*(int(bound) if bound else None for bound in match.groups()))
        return lambda message, _context: "/".join(message.topic.split("/")[part])
    raise ValueError(f"{{{text}}}: a level is a number as in {{topic[0]}} or {{topic[-1]}}, or a range as in {{topic[1:]}}")


def _user_property(message: Message, name: str) -> str:
    for key, value in message.properties.user if message.properties is not None else ():
        if key == name:
            return value
    return ""
