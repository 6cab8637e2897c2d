"""Topics to publish to, from a template."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator

from edgerouter.errors import Rejected
from edgerouter.message import Message
from edgerouter.mqtt.texts import check_topic, has_forbidden
from edgerouter.sink import SinkContext
from edgerouter.templates import MESSAGE_FIELDS, MessageTemplate, parse

_MAX_BYTES = 65_535  # MQTT 5.0, 1.5.4
_MAX_LEVELS = 200  # mosquitto's; it closes the connection for more


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
        check_topic(topic, longest=_MAX_BYTES, most_levels=_MAX_LEVELS)
        if topic[0] == "$" and not self._reserved:
            # a device must not reach the broker's own topics by its choice of a name
            raise Rejected("a topic that begins with $ belongs to the broker; a template may name one, a message may not")
        return topic


def _checked(text: str) -> str:
    if not text:
        raise ValueError("a topic has at least one character")
    for part in parse(text, MESSAGE_FIELDS):
        if isinstance(part, str) and has_forbidden(part):
            raise ValueError(f"{part!r} holds a wildcard or a NUL, which MQTT does not allow in a publish")
    first = text.partition("/")[0]
    if first == "$SYS" or (first.startswith("$") and "{" in first):
        raise ValueError(f"{text!r}: topics below $SYS belong to the broker, and no device may choose what follows a leading $")
    return text


TopicText = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds a topic template."""
