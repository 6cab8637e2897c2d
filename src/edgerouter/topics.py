"""MQTT topic filters: validation and matching (MQTT 5.0, 4.7 and 4.8.2)."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Annotated, Final

from pydantic import AfterValidator, WithJsonSchema

from edgerouter.topic_cache import TopicCache, key_weight

__all__ = ["Matcher", "TopicFilter", "TopicName", "check_filter", "check_name", "matches"]

MAX_BYTES: Final = 65_535
"""Longest topic or filter: the length of an MQTT string has two bytes (MQTT 5.0, 1.5.4)."""

LABEL_CHARACTERS: Final = 64
"""Most characters of a topic's first level shown in metrics and counters."""

_SHARE: Final = "$share"


def check_filter(text: str) -> str:
    """Return the filter unchanged.

    Raises:
        ValueError: a broker would refuse the filter, with the reason.
    """
    if not text:
        raise ValueError("a topic filter is not empty")
    if "\0" in text:
        raise ValueError("a topic filter holds no NUL character")
    try:
        length = len(text.encode())
    except UnicodeEncodeError:
        raise ValueError("a topic filter holds no lone surrogates") from None
    if length > MAX_BYTES:
        raise ValueError(f"a topic filter has at most {MAX_BYTES} bytes, this one has {length}")
    levels = text.split("/")
    if levels[0] == _SHARE:
        _check_share(levels, text)
        levels = levels[2:]
    for place, level in enumerate(levels):
        if "#" in level and level != "#":
            raise ValueError(f"'#' must occupy a whole level, in {text!r}")
        if level == "#" and place != len(levels) - 1:
            raise ValueError(f"'#' must be the last level, in {text!r}")
        if "+" in level and level != "+":
            raise ValueError(f"'+' must occupy a whole level, in {text!r}")
    return text


def _check_share(levels: list[str], text: str) -> None:
    if len(levels) < 3 or not levels[1] or levels[2:] == [""]:
        raise ValueError(f"a shared subscription is $share/GROUP/FILTER, not {text!r}")
    if "+" in levels[1] or "#" in levels[1]:
        raise ValueError(f"the group of a shared subscription holds no wildcards, in {text!r}")


def check_name(text: str) -> str:
    """Return the topic unchanged.

    Raises:
        ValueError: the topic cannot be published to, with the reason.
    """
    check_filter(text)
    if "+" in text or "#" in text:
        raise ValueError(f"a topic to publish to holds no wildcards, in {text!r}")
    return text


TopicFilter = Annotated[str, AfterValidator(check_filter)]
"""A field that holds an MQTT topic filter."""

TopicName = Annotated[
    str, AfterValidator(check_name), WithJsonSchema({"type": "string", "minLength": 1, "pattern": r"^[^+#\x00]+$"})
]
"""A field that holds a topic to publish to."""


def split_share(topic_filter: str) -> tuple[str | None, str]:
    """Split into the group of a shared subscription (`None` = not shared) and the filter that decides what matches."""
    if topic_filter.startswith(_SHARE + "/"):
        _, group, rest = topic_filter.split("/", 2)
        return group, rest
    return None, topic_filter


def filters_overlap(one: str, other: str) -> bool:
    """Return True if some topic matches both filters; they must not contain `$share`."""
    first, second = one.split("/"), other.split("/")
    if "$" in (one[:1], other[:1]) and {first[0], second[0]} & {"#", "+"}:
        return False  # a wildcard in the first level does not match the broker's own topics
    for left, right in zip(first, second, strict=False):
        if "#" in (left, right):
            return True
        if left != right and "+" not in (left, right):
            return False
    # `sport/#` matches its parent `sport` too
    return len(first) == len(second) or max(first, second, key=len)[min(len(first), len(second))] == "#"


def matches(topic_filter: str, topic: str) -> bool:
    """Return True if a broker would send this topic to a subscriber of this (valid) filter."""
    return re.fullmatch(_pattern(topic_filter), topic, re.DOTALL) is not None


def _pattern(topic_filter: str) -> str:
    levels = split_share(topic_filter)[1].split("/")
    # a wildcard in the first level does not match the broker's own topics ($SYS and the like)
    guard = r"(?!\$)" if levels[0] in ("#", "+") else ""
    if levels == ["#"]:
        return guard + ".*"
    # `sport/#` matches its parent `sport` too
    tail = "(?:/.*)?" if levels[-1] == "#" else ""
    if tail:
        levels.pop()
    return guard + "/".join("[^/]*" if level == "+" else re.escape(level) for level in levels) + tail


class Matcher:
    """Matches topics against a set of filters and caches the answers, because devices repeat their topics.

    Args:
        filters: valid filters; an empty set matches nothing.
    """

    __slots__ = ("_known",)

    def __init__(self, filters: Iterable[str]) -> None:
        patterns = [_pattern(topic_filter) for topic_filter in filters]
        # (?!) never matches
        compiled = re.compile("|".join(f"(?:{pattern})" for pattern in patterns) or "(?!)", re.DOTALL)
        self._known = TopicCache[str, bool](lambda topic: compiled.fullmatch(topic) is not None, weigh=key_weight)

    def __call__(self, topic: str) -> bool:
        return self._known[topic]


def first_level(topic: str) -> str:
    """Return the first level of a topic for a label or a counter, truncated if it is long."""
    level = topic.partition("/")[0]
    return level if len(level) <= LABEL_CHARACTERS else level[:LABEL_CHARACTERS] + "..."
