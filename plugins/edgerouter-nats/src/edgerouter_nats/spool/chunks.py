"""Chunks that are read out of the stream by direct get, from whichever replica answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping
from typing import Final

import structlog

from edgerouter.spool.log.chunk import Chunk, Damaged
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.link import TooLong
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.sequences import chunk_of, first_of
from edgerouter_nats.spool.stored import Envelopes, Opened, counted_for

READ_BYTES: Final = 2 * 1024**2
"""Bytes of chunks that one request asks for; one chunk comes in any case."""
READ_CHUNKS: Final = 64

log = structlog.get_logger("edgerouter.spool")
Sinks = Mapping[int, tuple[int, Callable[[str], bool]]]
"""Digest of the filters, and the filters, of each ledger that is held here, by key."""


class Chunks:
    """Reads chunks, with their counts for the ledgers that are held here.

    Args:
        api: of JetStream.
        names: of the stream.
        envelopes: decode what is stored.
        sinks: the ledgers that are held by then.
    """

    def __init__(self, api: Api, names: Names, envelopes: Envelopes, sinks: Callable[[], Sinks]) -> None:
        self._api = api
        self._names = names
        self._envelopes = envelopes
        self._sinks = sinks
        self.damaged: dict[int, str] = {}
        """Why a chunk cannot be read, by its stream sequence."""

    async def read(self, sequence: int, *, most: int = READ_CHUNKS, max_bytes: int = READ_BYTES) -> list[tuple[int, Chunk]]:
        """Return chunks with their stream sequences, from this stream sequence on, as far as one request goes.

        An unreadable chunk has no messages.

        Raises:
            Unavailable: nothing answers.
        """
        found = await self.open(sequence, most=most, max_bytes=max_bytes)
        return [(at, self.counted(opened)) for at, opened in found]

    async def open(
        self, sequence: int, *, most: int = READ_CHUNKS, max_bytes: int = READ_BYTES, subject: str = ""
    ) -> list[tuple[int, Opened]]:
        """Do as `read` does, and leave the counts to the time when they matter.

        Args:
            sequence: stream sequence to begin at.
            most: number of chunks.
            max_bytes: of all of them.
            subject: of one router, whose chunks alone are returned.

        Raises:
            Unavailable: nothing answers.
        """
        try:
            found = await self._api.read(self._names.stream, sequence, most=most, max_bytes=max_bytes, subject=subject)
        except TooLong as error:
            if most > 1:
                return await self.open(sequence, most=1, max_bytes=max_bytes, subject=subject)
            # no router has stored it, because none could read it again
            return [(sequence, self._damaged(sequence, str(error)))]
        return [(each.sequence, self._open(each.sequence, each.data)) for each in found]

    def counted(self, opened: Opened) -> Chunk:
        """Return a chunk with its counts for the ledgers that are held now."""
        return counted_for(opened, self._sinks())

    async def between(self, first: int, end: int) -> AsyncIterator[Chunk]:
        """Yield the chunks that hold messages of `[first, end)`, as far as they are still stored."""
        at = chunk_of(first)
        while first_of(at) < end:
            found = await self.read(at)
            for _, chunk in found:
                if chunk.first >= end:
                    return
                yield chunk
            if not found:
                return
            at = found[-1][0] + 1

    async def first(self) -> int:
        """Return the stream sequence of the oldest chunk, or the next one where there is none."""
        return (await self._api.state(self._names.stream)).first

    async def last(self) -> int:
        """Return the stream sequence of the newest chunk."""
        return (await self._api.state(self._names.stream)).last

    def _open(self, sequence: int, data: bytes) -> Opened:
        try:
            return self._envelopes.open(sequence, data)
        except Damaged as error:
            return self._damaged(sequence, str(error))

    def _damaged(self, sequence: int, reason: str) -> Opened:
        if sequence not in self.damaged and len(self.damaged) < READ_CHUNKS:
            self.damaged[sequence] = reason
            log.warning("a damaged chunk is skipped", stream_sequence=sequence, reason=reason)
        return Opened(Chunk(first_of(sequence), [], {}, end=first_of(sequence + 1)), {}, ())
