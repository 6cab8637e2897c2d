"""The topic that a received message gets, from a template."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Annotated, Final, NamedTuple

from pydantic import AfterValidator

from edgerouter.topic_cache import TopicCache

_TOKEN: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_ATTRIBUTE: Final = re.compile(r"attribute\[([^\]]+)\]")
_NAMES: Final = ("topic", "place", "source", "host", "attribute[NAME]")
_FORBIDDEN: Final = re.compile(r"[+#\x00\ud800-\udfff]")
_MAX_BYTES: Final = 65_535  # MQTT 5.0, 1.5.4


class TopicSource(NamedTuple):
    """What a template may draw on, the same for all messages of a source."""

    place: str
    """The queue, hub or subscription."""
    source: str
    host: str


_Part = Callable[[str, Mapping[str, str]], str]


class ReceivedTopic:
    """A parsed template.

    Placeholders: `{topic}` (the message's attribute `topic`, as edgerouter's sinks set it; the place where there is none),
    `{place}` (queue, hub or subscription), `{source}`, `{host}`, `{attribute[NAME]}` (empty where there is none).

    Args:
        template: checked by `check_topic_template`.
        source: what is the same for all messages.
    """

    def __init__(self, template: str, source: TopicSource) -> None:
        self._parts = _parse(template, source)
        self._place = source.place
        self._only_topic = template == "{topic}"
        self._publishable = TopicCache(_publishable)

    def of(self, attributes: Mapping[str, str]) -> str:
        """The topic for a message with these attributes; always one that MQTT allows to publish to."""
        topic = attributes.get("topic") or self._place
        if not self._only_topic:
            topic = "".join([part(topic, attributes) for part in self._parts])
        return self._publishable[topic]


def check_topic_template(text: str) -> str:
    """Return the template unchanged.

    Raises:
        ValueError: it is not one.
    """
    _parse(text, TopicSource("", "", ""))
    return text


TopicTemplate = Annotated[str, AfterValidator(check_topic_template)]
"""A configuration field that holds a template."""


def _parse(text: str, source: TopicSource) -> list[_Part]:
    if not text:
        raise ValueError("a topic has at least one character")
    parts: list[_Part] = []
    end = 0
    for match in _TOKEN.finditer(text):
        parts.append(_literal(text[end : match.start()]))
        end = match.end()
        if match[1] is not None:
            parts.append(_placeholder(match[1], source))
        elif len(match[0]) == 2:
            parts.append(_literal(match[0][0]))
        else:
            raise ValueError(f"{text!r} has a single {match[0]!r}; write {match[0] * 2!r} for a brace that is not a placeholder")
    parts.append(_literal(text[end:]))
    return parts


def _literal(text: str) -> _Part:
    if _FORBIDDEN.search(text):
        raise ValueError(f"{text!r} holds a wildcard or a NUL, which no message's topic has")
    return lambda _topic, _attributes: text


def _placeholder(text: str, source: TopicSource) -> _Part:
    if match := _ATTRIBUTE.fullmatch(text):
        name = match[1]
        return lambda _topic, attributes: attributes.get(name, "")
    if text == "topic":
        return lambda topic, _attributes: topic
    fixed = source._asdict().get(text)
    if fixed is None:
        near = get_close_matches(text, _NAMES, 1)
        hint = f"did you mean {{{near[0]}}}?" if near else "known are " + ", ".join(f"{{{known}}}" for known in _NAMES)
        raise ValueError(f"unknown placeholder {{{text}}}; {hint}")
    return lambda _topic, _attributes: fixed


def _publishable(topic: str) -> str:
    """What MQTT does not allow in a topic becomes `_`; what is too long is cut."""
    clean = _FORBIDDEN.sub("_", topic) or "_"
    if len(clean) * 4 > _MAX_BYTES:
        clean = clean.encode()[:_MAX_BYTES].decode(errors="ignore")
    return clean
