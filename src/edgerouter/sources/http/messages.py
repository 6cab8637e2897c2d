"""Messages from the payloads of a request and its headers."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Final

from multidict import CIMultiDictProxy

from edgerouter.message import Message, Properties
from edgerouter.sources.http.targets import is_json_lines
from edgerouter.topic_cache import TopicCache

_NO_STATEMENT: Final = "application/x-www-form-urlencoded"
"""Content type that curl sends unless it is given another."""


class Messages:
    """Makes the messages of a request.

    Args:
        headers: names of those that become user properties.
    """

    def __init__(self, headers: Sequence[str]) -> None:
        self._headers = headers
        self._by_type = TopicCache[str, Properties](lambda kind: Properties(content_type=_of_message(kind)))

    def of(self, topic: str, payloads: Sequence[bytes], headers: CIMultiDictProxy[str]) -> list[Message]:
        """Return a message for each payload."""
        properties = self._properties(headers)
        now = time.time_ns()
        return [Message(topic, payload, now, 1, False, properties) for payload in payloads]

    def _properties(self, headers: CIMultiDictProxy[str]) -> Properties | None:
        kind = headers.get("Content-Type")
        if kind == _NO_STATEMENT:
            kind = None
        user = tuple([(name, _text(value)) for name in self._headers for value in headers.getall(name, ())])
        if user:
            return Properties(user=user, content_type=None if kind is None else _of_message(_text(kind)))
        return None if kind is None else self._by_type[_text(kind)]


def _of_message(content_type: str) -> str:
    """Return the content type of each message of a request: a line of JSON Lines is a JSON document."""
    return "application/json" if is_json_lines(content_type) else content_type


def _text(value: str) -> str:
    """Return the value of a header as valid UTF-8."""
    return value if value.isascii() else value.encode(errors="surrogateescape").decode(errors="replace")
