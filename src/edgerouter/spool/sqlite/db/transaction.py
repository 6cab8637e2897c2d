"""A transaction as data, its result, and the content of a database that is opened."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from edgerouter.message import Message
from edgerouter.spool.log.chunk import Chunk, Header, NewChunk, count_wanted
from edgerouter.spool.sqlite.db.dead_letter_rows import Place, Row


class SpoolRecord(msgspec.Struct, array_like=True):
    """Stored state of the spool itself."""

    id: str
    next: int = 1
    """The sequence of the next message."""
    next_key: int = 1
    """The key of the next new sink."""
    messages: int = 0
    """Messages in chunks."""
    letter: int = 1
    """The number of the next dead letter."""
    acknowledged: int = 1
    """Below this sequence all deliveries were acknowledged before the transaction that stored this record."""
    receipts: dict[str, tuple[int, int]] | None = None
    """By source: first and one above the last sequence whose receipts count; `None` in a spool of the first release."""
    received: int = 0
    """Time of receipt of the newest message, ns."""
    commits: int = 0
    """Transactions over the life of the spool: those of the journal with a higher number are newer than the database."""


class Need(msgspec.Struct, frozen=True):
    """Pending sequences of one sink around some others."""

    key: int
    since: int
    ranges: Sequence[tuple[int, int]]


class Trim(msgspec.Struct, frozen=True):
    """Sequences that some sink has settled, and the sinks that have not settled everything around them."""

    start: int
    end: int
    needs: Sequence[Need]
    kept: Sequence[tuple[int, int]] = ()
    """Sequences whose receipts are still needed."""

    def touches(self, first: int, end: int) -> bool:
        """Return True if any sink has not settled everything between these, whatever it wants of it."""
        return any(a < end and first < b for need in self.needs for a, b in need.ranges)

    def needed(self, first: int, end: int, wanted: dict[int, int], only: int) -> bool:
        """Return True if any sink needs this chunk."""
        return any(
            any(a < end and first < b for a, b in need.ranges) and count_wanted(first, wanted, only, need.key, need.since) != 0
            for need in self.needs
        )


class Transaction(msgspec.Struct):
    """Everything that is to be written at once."""

    chunks: list[NewChunk] = msgspec.field(default_factory=list)
    put: dict[str, bytes] = msgspec.field(default_factory=dict)
    delete: list[str] = msgspec.field(default_factory=list)
    trims: list[Trim] = msgspec.field(default_factory=list)
    dead_letters: list[Row] = msgspec.field(default_factory=list)
    replayed: list[Place] = msgspec.field(default_factory=list)
    """Dead letters that are deleted because their messages are in `chunks`."""
    thrown_away: list[Place] = msgspec.field(default_factory=list)
    """Other dead letters that are deleted."""
    quarantine: list[Header] = msgspec.field(default_factory=list)
    """Damaged chunks that are moved out of the log."""
    discard: list[Header] = msgspec.field(default_factory=list)
    """Chunks that are deleted though a sink may want them."""
    reuse: list[int] = msgspec.field(default_factory=list)
    """First sequences of retained chunks that a replay has made pending again."""
    release: int = 0
    """Bytes of retained chunks to give up."""
    receipts: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    """By source: sequences whose receipts are still needed."""

    @property
    def appends_only(self) -> bool:
        """True if it stores messages, and beside them only small values."""
        return bool(self.chunks) and not (self.trims or self.discard or self._has_more)

    @property
    def settles_only(self) -> bool:
        """True if it stores small values, and beside them only deletes chunks."""
        return not (self.chunks or self._has_more)

    @property
    def _has_more(self) -> bool:
        letters = self.dead_letters or self.replayed or self.thrown_away
        return bool(letters or self.quarantine or self.reuse or self.release)


class Opened(msgspec.Struct, frozen=True):
    """Content of the database when it was opened."""

    values: dict[str, bytes]
    """The ledgers and other small values by name."""
    used: int
    """Bytes of the database in use."""
    free: int
    """Bytes of the database file that are free for reuse."""
    first: int
    """Lowest sequence stored; the next one when there is none."""
    next: int
    messages: int
    retained: int
    dead_letters: tuple[Counter[str], int]
    """Number of dead letters by sink, and bytes of all."""
    quarantined: tuple[int, int]
    """Number of damaged chunks put aside, and of messages in them."""
    unacknowledged: list[tuple[str, list[Message], bytes]]
    """Source, messages and receipt of deliveries whose receipts count."""
    salvage: tuple[int, int] | None
    """Sequences that are still being brought over from a damaged database."""
    missing: tuple[int, int] | None
    """Sequences of the last commits, which are lost."""
    holes: bool
    """Other commits are lost, and the ledgers may count their messages."""
    forgotten: bool
    """The ledgers may be lost: a sink that seems new may not be."""


class Written(msgspec.Struct):
    """Result of a transaction."""

    chunks: list[Chunk]
    stored: int
    """Bytes of the chunks written."""
    leftover: list[tuple[int, int]]
    """Sequences that there was no time to trim."""
    used: int
    """Bytes of the database in use."""
    free: int
    """Bytes of the database file that are free for reuse."""
    first: int
    """Lowest sequence stored; the next one when there is none."""
    messages: int
    """Messages stored."""
    retained: int
    """Bytes of chunks that are kept only for replay."""
    held: bool
    """Nothing was trimmed, and shall be another time."""
    stuck: bool
    """The write-ahead log grows, because the disk has no room to fold it into the database."""
    crowded: bool
    """The journal is half full: what is settled should be trimmed before the database takes it over."""
