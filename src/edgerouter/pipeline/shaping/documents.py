"""Decoded payloads, shared between the sinks that read the same messages, so that each is decoded once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from edgerouter.message import Message
from edgerouter.step import UNREAD, Item, decoded

MOST_BYTES: Final = 1024 * 1024
"""Payload bytes of the documents that are kept; a document takes up to ten times its payload in memory."""


class Documents:
    """The latest documents, by the sequence of their message."""

    def __init__(self) -> None:
        self.readers = 0
        """Sinks with steps that read JSON; a single one has nothing to share."""
        self._kept: dict[int, tuple[Message, Any]] = {}
        self.bytes = 0
        """Payload bytes of the documents that are kept."""

    def read(self, items: Iterable[Item]) -> None:
        """Decode the payload of each item that has not been read."""
        if self.readers < 2:
            for item in items:
                if item.read is UNREAD:
                    item.read = decoded(item.message.payload)
            return
        for item in items:
            if item.read is UNREAD:
                unchanged = item.message.payload is item.original.payload
                item.read = self._shared(item.original) if unchanged else decoded(item.message.payload)

    def _shared(self, message: Message) -> Any:
        kept = self._kept.get(message.sequence)
        if kept is not None and kept[0].payload is message.payload:
            return kept[1]
        document = decoded(message.payload)
        size = len(message.payload)
        if size <= MOST_BYTES // 16 and kept is None:
            self._kept[message.sequence] = (message, document)
            self.bytes += size
            while self.bytes > MOST_BYTES:
                oldest = next(iter(self._kept))
                self.bytes -= len(self._kept.pop(oldest)[0].payload)
        return document
