"""Sequences of messages in a shared log: the stream's sequence of the chunk, and the place in the chunk.

The stream numbers chunks, not messages, and several routers append to it. So a message's sequence is `stream sequence * 1024 +
place`. It rises in the order of the stream, needs no counter that routers would share, and shows the chunk to fetch. The slots
that a chunk leaves unused belong to no message; a position holds them until their chunk is read.
"""

from __future__ import annotations

from typing import Final

SLOTS: Final = 1024
"""Sequences of a chunk; above the most messages of one."""


def first_of(stream_sequence: int) -> int:
    """Return the sequence of the first message of a chunk."""
    return stream_sequence * SLOTS


def chunk_of(sequence: int) -> int:
    """Return the stream sequence of the chunk that holds a message."""
    return sequence // SLOTS
