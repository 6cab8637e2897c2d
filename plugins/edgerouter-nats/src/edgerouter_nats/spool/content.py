"""Number of messages in the stream, which itself counts chunks only."""

from __future__ import annotations

from collections import deque
from typing import Final

_MOST_CHUNKS: Final = 10_000


class Content:
    """Remembers how many messages the newest chunks hold; older ones count as those on average."""

    def __init__(self) -> None:
        self._chunks: deque[tuple[int, int]] = deque(maxlen=_MOST_CHUNKS)

    def add(self, sequence: int, messages: int) -> None:
        """Note a chunk, in the order of the stream."""
        self._chunks.append((sequence, messages))

    def messages(self, first: int) -> int:
        """Return about how many messages the stream holds from this stream sequence on."""
        known = self._chunks
        while known and known[0][0] < first:
            known.popleft()
        if not known:
            return 0
        messages = sum(count for _, count in known)
        older = max(0, known[0][0] - first)
        return messages + older * messages // len(known)
