"""Topics to publish to, from a template."""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import Annotated

from pydantic import AfterValidator

from edgerouter.errors import Rejected
from edgerouter.message import Message
from edgerouter.sink import SinkContext

_TOKEN = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_PLACEHOLDER = re.compile(r"([A-Za-z_]+)(?:\[([^\]]*)\])?")
_INDEX = re.compile(r"-?\d+")
_SLICE = re.compile(r"(-?\d+)?:(-?\d+)?")
_NAMES = ("topic", "property", "host", "sink", "spool")
_MAX_BYTES = 65_535  # MQTT 5.0, 1.5.4
_MAX_LEVELS = 200  # mosquitto's; it closes the connection for more
_FORBIDDEN = re.compile(r"[+#\x00\ud800-\udfff]")
_RISKY = re.compile(
    r"[\x00-\x1f\x7f-\x9f\ud800-\udfff\ufdd0-\ufdef\ufffe\uffff"
    + "".join(f"{chr(p * 0x10000 + 0xFFFE)}{chr(p * 0x10000 + 0xFFFF)}" for p in range(1, 17))
    + "]"
)
"""Control characters and non-characters: a broker may close the connection for them (MQTT 5.0, 1.5.4), and mosquitto does.
A message that ends the connection each time it is tried would block all others for ever."""

_Part = Callable[[Message, SinkContext], str]


class TopicTemplate:
    """A parsed template such as `sites/{host}/{topic}`.

    Placeholders: `{topic}`, `{topic[0]}`, `{topic[-1]}`, `{topic[1:]}`, `{property[name]}` (a user property, empty when missing),
    `{host}`, `{sink}`, `{spool}`; `{{` and `}}` are braces.
    """

    def __init__(self, parts: list[_Part], *, reserved: bool) -> None:
        self._parts = parts
        self._reserved = reserved

    @classmethod
    def parse(cls, text: str) -> TopicTemplate:
        """Read a template.

        Raises:
            ValueError: what is wrong with it, with the nearest known name.
        """
        if not text:
            raise ValueError("a topic has at least one character")
        parts: list[_Part] = []
        end = 0
        for match in _TOKEN.finditer(text):
            parts.append(_literal(text[end : match.start()]))
            end = match.end()
            if match[1] is not None:
                parts.append(_placeholder(match[1]))
            elif len(match[0]) == 2:
                parts.append(_literal(match[0][0]))
            else:
                raise ValueError(
                    f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for a brace that is not a placeholder"
                )
        parts.append(_literal(text[end:]))
        reserved = text.startswith("$")
        first = text.partition("/")[0]
        if reserved and (first == "$SYS" or _TOKEN.search(first)):
            raise ValueError(f"{text!r}: topics below $SYS belong to the broker, and no device may choose what follows a leading $")
        return cls(parts, reserved=reserved)

    def topic_of(self, message: Message, names: SinkContext) -> str:
        """The topic to publish a message to.

        Raises:
            Rejected: MQTT does not allow to publish there.
        """
        topic = "".join([part(message, names) for part in self._parts])
        if not topic:
            raise Rejected("the template gives an empty topic for this message")
        if _FORBIDDEN.search(topic):
            raise Rejected("the topic holds a wildcard, a NUL or half a character, which MQTT does not allow in a publish")
        check_text(topic, "the topic")
        if len(topic) * 4 > _MAX_BYTES and len(topic.encode()) > _MAX_BYTES:
            raise Rejected(f"the topic is longer than {_MAX_BYTES} bytes")
        if topic.count("/") >= _MAX_LEVELS:
            raise Rejected(f"the topic has more than {_MAX_LEVELS} levels, for which brokers may close the connection")
        if topic[0] == "$" and not self._reserved:
            # a device must not reach the broker's own topics by its choice of a name
            raise Rejected("a topic that begins with $ belongs to the broker; a template may name one, a message may not")
        return topic


def check_text(text: str, what: str) -> None:
    """Refuse what ends the connection.

    Raises:
        Rejected: the text holds a control character or a non-character.
    """
    if _RISKY.search(text):
        raise Rejected(f"{what} holds a control character, for which brokers may close the connection")


def _checked(text: str) -> str:
    TopicTemplate.parse(text)
    return text


TopicText = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a topic template."""


def _literal(text: str) -> _Part:
    if _FORBIDDEN.search(text):
        raise ValueError(f"{text!r} holds a wildcard or a NUL, which MQTT does not allow in a publish")
    return lambda _message, _names: text


def _placeholder(text: str) -> _Part:
    match = _PLACEHOLDER.fullmatch(text)
    if match is None or match[1] not in _NAMES:
        near = get_close_matches(match[1] if match else text, _NAMES, 1)
        hint = f"did you mean {{{near[0]}}}?" if near else "known are " + ", ".join(f"{{{known}}}" for known in _NAMES)
        raise ValueError(f"unknown placeholder {{{text}}}; {hint}")
    name, argument = match[1], match[2]
    if name == "topic":
        return _levels(text, argument)
    if name == "property":
        return _property(text, argument)
    if argument is not None:
        raise ValueError(f"{{{text}}}: {name} takes nothing in brackets")
    if name == "host":
        return lambda _message, names: names.host
    if name == "sink":
        return lambda _message, names: names.name
    return lambda message, names: message.spool or names.spool


def _levels(text: str, argument: str | None) -> _Part:
    if argument is None:
        return lambda message, _names: message.topic
    if _INDEX.fullmatch(argument):
        index = int(argument)
        part = slice(index, index + 1 or None)
    elif match := _SLICE.fullmatch(argument):
        part = slice(*(int(bound) if bound else None for bound in match.groups()))
    else:
        raise ValueError(f"{{{text}}}: a level is a number as in {{topic[0]}} or {{topic[-1]}}, or a range as in {{topic[1:]}}")
    return lambda message, _names: "/".join(message.topic.split("/")[part])


def _property(text: str, argument: str | None) -> _Part:
    if not argument:
        raise ValueError(f"{{{text}}}: write the name of the user property in brackets, as in {{property[device]}}")

    def value(message: Message, _names: SinkContext) -> str:
        pairs = message.properties.user if message.properties is not None else ()
        return next((content for name, content in pairs if name == argument), "")

    return value
