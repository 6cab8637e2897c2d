"""Builds the topic of a received message from a template."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator

from edgerouter.templates import Part, parse, topic_text
from edgerouter.topic_cache import TopicCache

_FIELDS: Final = ("topic", "place", "source", "host", "attribute")
_FORBIDDEN: Final = re.compile(r"[+#\x00\ud800-\udfff]")
_MAX_BYTES: Final = 65_535  # MQTT 5.0, 1.5.4


class TopicSource(NamedTuple):
    """Placeholder values shared by all messages of a source."""

    place: str
    """Name of the queue, hub or subscription."""
    source: str
    host: str


_Render = Callable[[str, Mapping[str, str]], str]


class ReceivedTopic:
    """A parsed template.

    `{topic}` is the message's attribute `topic`, as set by edgerouter's sinks, or otherwise the place.

    Args:
        template: checked by `check_topic_template`.
        source: values shared by all messages.
    """

    def __init__(self, template: str, source: TopicSource) -> None:
        self._renders = [_render(part, source) for part in _parse(template)]
        self._place = source.place
        self._only_topic = template == "{topic}"
        self._publishable = TopicCache(_publishable)

    def of(self, attributes: Mapping[str, str]) -> str:
        """Return the topic for a message with these attributes; always valid for an MQTT publish."""
        topic = attributes.get("topic") or self._place
        if not self._only_topic:
            topic = "".join([render(topic, attributes) for render in self._renders])
        return self._publishable[topic]


def check_topic_template(text: str) -> str:
    """Return the template unchanged.

    Raises:
        ValueError: the template is invalid.
    """
    _parse(text)
    return text


TopicTemplate = Annotated[str, AfterValidator(check_topic_template)]
"""A configuration field that holds a template."""


def _parse(text: str) -> list[Part]:
    if not text:
        raise ValueError("a topic has at least one character")
    parts = parse(text, _FIELDS)
    for part in parts:
        if isinstance(part, str) and _FORBIDDEN.search(part):
            raise ValueError(f"{part!r} holds a wildcard or a NUL, which no message's topic has")
    return parts


def _render(part: Part, source: TopicSource) -> _Render:
    if isinstance(part, str):
        return lambda _topic, _attributes: part
    if part.name == "topic":
        levels = topic_text(part)
        return lambda topic, _attributes: levels(topic)
    if part.name == "attribute":
        name = part.argument or ""
        return lambda _topic, attributes: attributes.get(name, "")
    fixed: str = getattr(source, part.name)
    return lambda _topic, _attributes: fixed


def _publishable(topic: str) -> str:
    """Replace characters that MQTT forbids in a topic by `_`, and truncate an overlong topic."""
    clean = _FORBIDDEN.sub("_", topic) or "_"
    if len(clean) * 4 > _MAX_BYTES:
        clean = clean.encode()[:_MAX_BYTES].decode(errors="ignore")
    return clean
