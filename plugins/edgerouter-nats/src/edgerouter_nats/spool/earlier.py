"""Receipts of an earlier run of this router, read from the stream."""

from __future__ import annotations

import asyncio
from collections import deque
from itertools import islice
from typing import Final

from edgerouter.message import Message
from edgerouter.spool.log.chunk import Chunk, Receipt
from edgerouter_nats.spool.chunks import Chunks

_GATHERED_BYTES: Final = 64 * 1024**2
_LOOK_AGAIN: Final = 0.1


async def unacknowledged(chunks: Chunks, subject: str, keep_from: int, upto: int) -> list[tuple[str, list[Message], bytes]]:
    """Return source, messages and receipt of each delivery that has one, in order.

    Args:
        chunks: of the stream.
        subject: of the router.
        keep_from: stream sequence of its first chunk that was kept for its receipts; 0 = none was.
        upto: stream sequence that its last chunk has, or had; waited for, since the replica that answers may lag behind.

    Raises:
        Unavailable: nothing answers.
    """
    found: list[tuple[str, list[Message], bytes]] = []
    gathered = Gathered()
    at = keep_from
    while 0 < at <= upto:
        stored = await chunks.open(at, subject=subject)
        for _, opened in stored:
            if opened.chunk.messages:
                gathered.add(opened.chunk)
                found += [(r.source, gathered.messages_of(r), r.receipt) for r in opened.receipts]
        if stored:
            at = stored[-1][0] + 1
        elif await chunks.first() > upto:
            break
        else:
            await asyncio.sleep(_LOOK_AGAIN)
    return found


class Gathered:
    """The newest messages of a router while its chunks are read in order: a delivery may have begun chunks before its receipt."""

    def __init__(self) -> None:
        self._chunks: deque[Chunk] = deque()
        self._bytes = 0

    def add(self, chunk: Chunk) -> None:
        """Add the chunk that follows."""
        self._chunks.append(chunk)
        self._bytes += chunk.size
        while self._bytes > _GATHERED_BYTES and len(self._chunks) > 1:
            self._bytes -= self._chunks.popleft().size

    def messages_of(self, receipt: Receipt) -> list[Message]:
        """Return the messages of a receipt of the newest chunk, as far as they are gathered."""
        first, chunks = receipt.first, self._chunks
        messages = list(chunks[-1].messages)
        for chunk in islice(reversed(chunks), 1, None):
            if first >= 0:
                break
            messages[:0] = chunk.messages
            first += len(chunk.messages)
        return messages[max(0, first) : first + receipt.count]
