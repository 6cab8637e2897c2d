"""Decoded payloads, shared between the sinks that read the same messages, so that each is decoded once."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from edgerouter.errors import BadInput
from edgerouter.item import UNREAD, Item, decode_all
from edgerouter.json_codec import decoded

MOST_BYTES: Final = 256 * 1024
"""Payload bytes of the documents that are kept; a document takes up to ten times its payload in memory, and the garbage collector
visits each: a thousand are enough for sinks that keep up, and more cost more than they save."""
_SMALLEST: Final = 256
"""A smaller payload is decoded again: measured, that is cheaper than to keep its document."""
_LARGEST: Final = MOST_BYTES // 8


class Documents:
    """The latest documents, by their payload.

    They are kept in two generations, and the older one goes as a whole: that costs nothing for each message.
    """

    def __init__(self) -> None:
        self.readers = 0
        """Sinks with steps that read JSON; a single one has nothing to share."""
        self._kept: dict[bytes, Any] = {}
        self._older: dict[bytes, Any] = {}
        self._kept_bytes = 0

    def read(self, items: Iterable[Item]) -> None:
        """Decode the payload of each item that has not been read."""
        if self.readers < 2:
            decode_all(items)
            return
        kept, older = self._kept.get, self._older.get
        for item in items:
            if item.read is UNREAD:
                payload = item.message.payload
                if len(payload) < _SMALLEST:
                    item.read = decoded(payload)
                    continue
                document = kept(payload, UNREAD)
                if document is UNREAD:
                    document = older(payload, UNREAD)
                    if document is UNREAD:
                        document = decoded(payload)
                        self._keep(payload, document)
                        kept, older = self._kept.get, self._older.get
                item.read = document

    def _keep(self, payload: bytes, document: Any) -> None:
        size = len(payload)
        # an exception gathers a traceback each time that it is raised
        if size > _LARGEST or document.__class__ is BadInput:
            return
        if self._kept_bytes + size > MOST_BYTES // 2:
            self._older = self._kept
            self._kept, self._kept_bytes = {}, 0
        self._kept[payload] = document
        self._kept_bytes += size
