"""Topics to publish to, from a template."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from edgerouter.errors import Rejected
from edgerouter.message import Message
from edgerouter.sink import SinkContext
from edgerouter.templates import MESSAGE_FIELDS, MessageTemplate, parse

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


class TopicTemplate:
    """A parsed template such as `sites/{host}/{topic}`; topics are remembered by the topic of the message.

    Raises:
        ValueError: the template is malformed, with the reason.
    """

    def __init__(self, text: str, names: SinkContext) -> None:
        _checked(text)
        self._reserved = text.startswith("$")
        self._template = MessageTemplate(text, names, self._publishable)

    def of(self, message: Message) -> str:
        """Return the topic to publish a message to.

        Raises:
            Rejected: MQTT does not allow to publish there.
        """
        return self._template.of(message)

    def _publishable(self, topic: str) -> str:
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
    if not text:
        raise ValueError("a topic has at least one character")
    for part in parse(text, MESSAGE_FIELDS):
        if isinstance(part, str) and _FORBIDDEN.search(part):
            raise ValueError(f"{part!r} holds a wildcard or a NUL, which MQTT does not allow in a publish")
    first = text.partition("/")[0]
    if first == "$SYS" or (first.startswith("$") and "{" in first):
        raise ValueError(f"{text!r}: topics below $SYS belong to the broker, and no device may choose what follows a leading $")
    return text


TopicText = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a topic template."""
