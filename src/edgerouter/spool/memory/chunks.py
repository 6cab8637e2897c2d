"""The log in memory: chunks by their first sequences, and how much they hold."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

from edgerouter.spool.log.chunk import Chunk


class Chunks:
    """Chunks in the order of their sequences; some are missing where all sinks have settled them."""

    def __init__(self) -> None:
        self._chunks: dict[int, Chunk] = {}
        self._firsts: list[int] = []
        self.end = 1
        """The sequence of the next message."""
        self.messages = 0
        self.bytes = 0
        self.written_bytes = 0
        """Bytes of all chunks since the start."""

    def __len__(self) -> int:
        return len(self._chunks)

    def __iter__(self) -> Iterator[Chunk]:
        return iter(self._chunks.values())

    @property
    def first(self) -> int:
        """Lowest sequence held; the next one when there is none."""
        return self._firsts[0] if self._firsts else self.end

    @property
    def oldest(self) -> Chunk:
        """The first chunk; there must be one."""
        return self._chunks[self._firsts[0]]

    def add(self, chunk: Chunk) -> None:
        """Add the chunk that begins at `end`."""
        self._chunks[chunk.first] = chunk
        self._firsts.append(chunk.first)
        self.end = chunk.end
        self.messages += len(chunk.messages)
        self.bytes += chunk.size
        self.written_bytes += chunk.size

    def remove(self, chunk: Chunk) -> None:
        """Delete a chunk."""
        del self._chunks[chunk.first]
        del self._firsts[bisect_left(self._firsts, chunk.first)]
        self.messages -= len(chunk.messages)
        self.bytes -= chunk.size

    def find(self, sequence: int) -> Chunk | None:
        """Return the chunk that holds the sequence."""
        place = bisect_right(self._firsts, sequence) - 1
        if place < 0:
            return None
        chunk = self._chunks[self._firsts[place]]
        return chunk if sequence < chunk.end else None

    def following(self, sequence: int) -> int | None:
        """Return the first sequence of the chunk that begins at this sequence or is the next one; `None` where none is."""
        place = bisect_left(self._firsts, sequence)
        return self._firsts[place] if place < len(self._firsts) else None

    def between(self, start: int, end: int) -> list[Chunk]:
        """Return the chunks from the one that holds `start`, or stands before it, to `end`."""
        place = max(0, bisect_right(self._firsts, start) - 1)
        return [self._chunks[first] for first in self._firsts[place : bisect_left(self._firsts, end)]]
