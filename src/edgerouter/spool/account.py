"""A sink's account: what it has still to do, what became of the rest, and how that is written down."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from zlib import crc32

import msgspec

from edgerouter.spool.contract import Ledger
from edgerouter.spool.position import Position


class SinkRecord(msgspec.Struct, frozen=True, array_like=True):
    """An account as it is stored."""

    key: int
    filters: tuple[str, ...]
    since: int
    matched: int
    delivered: int
    dead_lettered: int
    dropped: int
    position: bytes
    uncounted: bytes


@dataclass(slots=True)
class Change:
    """What a transaction changes in an account, beside what is settled already."""

    matched: int = 0
    """More matched, by the chunks that it appends."""
    dead_lettered: int = 0
    """More dead-lettered, or fewer."""
    settled: list[tuple[int, int]] = field(default_factory=list)
    """What its dead letters settle."""
    added: list[tuple[int, int]] = field(default_factory=list)
    """What its replayed dead letters make pending."""


@dataclass(slots=True)
class Account:
    """What the spool knows about one sink. It changes on the event loop only."""

    name: str
    key: int
    """Stands for the name in stored chunks."""
    filters: tuple[str, ...] = ()
    since: int = 1
    """The counts stored with chunks hold for this sink from this sequence on."""
    position: Position = field(default_factory=Position)
    """Every sequence that the sink wants and that is not settled, and some that it does not want and that nobody looked at yet."""
    uncounted: Position = field(default_factory=Position)
    """What of the position is not in `matched` yet, because nobody knows how many of it the sink wants."""
    matched: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    leaving: Position = field(default_factory=Position)
    """What of the position is being dead-lettered: it counts once that is stored."""
    changed: bool = False
    """Differs from what is stored."""
    left: int = 0
    """From this sequence on nobody asked for the sink whether it wants a message, until it was attached again; 0 = not known."""
    batches: dict[int, Position] = field(default_factory=dict)
    """Kept batches by number: the sequences of each."""

    @property
    def ledger(self) -> Ledger:
        """Its numbers at this moment."""
        return Ledger(self.matched, self.delivered, self.dead_lettered, self.dropped)

    @property
    def pending(self) -> int:
        """Messages known to be wanted and not settled."""
        return self.matched - self.delivered - self.dead_lettered - self.dropped

    def imbalance(self, pending: int, letters: int) -> list[str]:
        """What is wrong with the account.

        Args:
            pending: messages found that the sink wants and has not settled.
            letters: dead letters found.
        """
        problems = []
        if self.pending != pending:
            problems.append(f"sink {self.name}: {self.pending} messages pending by the ledger, {pending} stored")
        if self.dead_lettered != letters:
            problems.append(f"sink {self.name}: {self.dead_lettered} dead letters by the ledger, {letters} stored")
        return problems

    def losable(self, start: int, end: int) -> list[tuple[int, int]]:
        """What is lost when these sequences are gone."""
        pending = Position(self.position.intersect(start, end))
        for a, b in self.leaving.intersect(start, end):
            pending.remove(a, b)
        return list(pending)

    def drop(self, ranges: list[tuple[int, int]], counted: int) -> None:
        """These are gone.

        Args:
            ranges: what is gone.
            counted: how many of the messages in it the sink had pending.
        """
        self.dropped += counted
        self.settle(ranges)

    def kept(self) -> list[int]:
        """Forget the batches of which everything is settled; returns their numbers."""
        done = [
            number for number, batch in self.batches.items() if not any(self.position.overlaps(start, end) for start, end in batch)
        ]
        for number in done:
            del self.batches[number]
        return done

    def settle(self, ranges: Iterable[tuple[int, int]]) -> None:
        """These are done; the caller has counted them."""
        for start, end in ranges:
            self.position.remove(start, end)
            if self.uncounted:
                self.uncounted.remove(start, end)
        self.changed = True

    def record(self, change: Change) -> bytes:
        """The account as it will be once the transaction that makes this change has succeeded."""
        position = self.position
        if change.settled or change.added:
            position = position.copy()
            for start, end in change.settled:
                position.remove(start, end)
            for start, end in change.added:
                position.add(start, end)
        record = SinkRecord(
            self.key,
            self.filters,
            self.since,
            self.matched + change.matched,
            self.delivered,
            self.dead_lettered + change.dead_lettered,
            self.dropped,
            position.encode(),
            self.uncounted.encode(),
        )
        return seal(msgspec.msgpack.encode(record))

    @classmethod
    def of_record(cls, name: str, data: bytes) -> Account:
        """Read a stored account.

        Raises:
            ValueError: it is not what was written.
        """
        record = msgspec.msgpack.decode(unseal(data), type=SinkRecord)
        return cls(
            name,
            record.key,
            record.filters,
            record.since,
            Position.decode(record.position),
            Position.decode(record.uncounted),
            record.matched,
            record.delivered,
            record.dead_lettered,
            record.dropped,
        )


def seal(data: bytes) -> bytes:
    """Data with its checksum, because SQLite has none."""
    return crc32(data).to_bytes(4, "little") + data


def unseal(data: bytes) -> bytes:
    """What `seal` was given.

    Raises:
        ValueError: it is not what was written.
    """
    if len(data) < 4 or int.from_bytes(data[:4], "little") != crc32(data[4:]):
        raise ValueError("the checksum is wrong")
    return data[4:]
