"""Changes of ledgers that come with a transaction: they count once it is on disk."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from edgerouter.spool.log.chunk import NewChunk


class Change(msgspec.Struct):
    """Change of one ledger, beside what is settled already."""

    matched: int = 0
    """More matched, by the chunks that it appends."""
    dead_lettered: int = 0
    """More dead-lettered, or fewer."""
    pending: int = 0
    """More pending, or fewer."""
    settled: list[tuple[int, int]] = msgspec.field(default_factory=list)
    """Sequences that its dead letters settle."""
    added: list[tuple[int, int]] = msgspec.field(default_factory=list)
    """Sequences that its replayed dead letters make pending."""


def changes_by(chunks: Iterable[NewChunk], first: int) -> tuple[dict[int, Change], int]:
    """Return the change of each ledger, by its key, and the sequence after the last message.

    Args:
        chunks: to be appended.
        first: the sequence of their first message.
    """
    changes: dict[int, Change] = {}
    for chunk in chunks:
        end = first + len(chunk.messages)
        for key, count in chunk.wanted.items():
            change = changes.setdefault(key, Change())
            change.pending += count
            if chunk.only:
                change.dead_lettered -= count
                change.added.append((first, end))
            else:
                change.matched += count
        first = end
    return changes, first
