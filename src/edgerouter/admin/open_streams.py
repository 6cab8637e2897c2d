"""Answers that do not end, of all listeners: counted, and ended with the server."""

from __future__ import annotations

from typing import Protocol


class Endless(Protocol):
    """One answer that does not end by itself."""

    def end(self) -> None:
        """End at the next opportunity."""


class OpenStreams:
    """Open streams of all listeners."""

    def __init__(self) -> None:
        self._open: set[Endless] = set()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, stream: Endless) -> None:
        """Count a stream that begins."""
        self._open.add(stream)

    def discard(self, stream: Endless) -> None:
        """Forget a stream that has ended."""
        self._open.discard(stream)

    def close(self) -> None:
        """End all streams: the server stops."""
        for stream in self._open:
            stream.end()
