"""The chunks that were appended last, kept in memory for all readers."""

from __future__ import annotations

from bisect import bisect_right

from edgerouter.spool.log.chunk import Chunk


class Recent:
    """A run of chunks without starts that ends with the newest one, bounded in bytes.

    Args:
        max_bytes: most bytes kept; the newest chunk is kept whatever its size.
        end: the sequence that the next chunk will begin with.
    """

    def __init__(self, max_bytes: int, end: int) -> None:
        self._max_bytes = max_bytes
        self._chunks: dict[int, Chunk] = {}
        self._firsts: list[int] = []
        self._gone = 0  # numbers at the front of `_firsts` whose chunks are given up
        self._bytes = 0
        self.first = end
        """Lowest sequence held; everything from it on is held."""
        self.end = end

    def add(self, chunk: Chunk) -> None:
        """The chunk that begins at `end`."""
        self._chunks[chunk.first] = chunk
        self._firsts.append(chunk.first)
        self._bytes += chunk.size
        self.end = chunk.end
        while self._bytes > self._max_bytes and len(self._chunks) > 1:
            self._drop_first()

    def forget(self, below: int) -> None:
        """Drop the chunks of which every reader has read everything: all below this sequence."""
        while self._chunks and self._chunks[self.first].end <= below:
            self._drop_first()

    def _drop_first(self) -> None:
        chunk = self._chunks.pop(self.first)
        self._bytes -= chunk.size
        self._gone += 1
        self.first = chunk.end
        if self._gone > 64 and self._gone * 2 > len(self._firsts):
            # cutting the front off a list moves the rest, so it is done seldom
            del self._firsts[: self._gone]
            self._gone = 0

    def find(self, sequence: int) -> Chunk | None:
        """The chunk that holds the sequence; `None` when it is not in memory."""
        if not self.first <= sequence < self.end:
            return None
        return self._chunks[self._firsts[bisect_right(self._firsts, sequence) - 1]]
