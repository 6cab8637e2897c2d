"""A sink's ledger: what it has still to do, what became of the rest, and how that is written down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from zlib import crc32

import msgspec

from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.spool.log.uncounted import Counted, Uncounted
from edgerouter.spool.status import Ledger


class SinkLedger(msgspec.Struct):
    """State of one sink in the spool. It changes on the event loop only."""

    name: str
    key: int
    """Stands for the name in stored chunks."""
    filters: tuple[str, ...] = ()
    since: int = 1
    """The counts stored with chunks hold for this sink from this sequence on."""
    position: Position = msgspec.field(default_factory=Position)
    """Every sequence that the sink wants and that is not settled, and some that it does not want and that were not read yet."""
    uncounted: Uncounted = msgspec.field(default_factory=Uncounted)
    """Ranges of the position that the present filters have not counted yet."""
    matched: int = 0
    delivered: int = 0
    dead_lettered: int = 0
    dropped: int = 0
    filtered: int = 0
    """Left out by a step, or waited when the filters changed and are not wanted any more."""
    pending: int = 0
    """Messages in the position that the sink wants; counted with the position, and not from the other numbers."""
    missing: int = 0
    """Were pending before damage and have not been found again. Once all has been looked at they are gone, and dropped."""
    known_to: int = 0
    """Of what is uncounted, messages below this sequence are in `missing`."""
    vouched: tuple[int, int] = (0, 0)
    """These sequences were given to messages. For uncounted ones there is no other record: after damage numbers are left out."""
    fault: str = ""
    """Why the numbers cannot be right; empty when they can."""
    leaving: Position = msgspec.field(default_factory=Position)
    """Part of the position that is being dead-lettered: it counts once that is stored."""
    leaving_messages: int = 0
    changed: bool = False
    """Differs from what is stored."""
    left: int = 0
    """First sequence appended while the sink was detached; 0 = unknown."""
    counted_to: int = 0
    """The stored numbers hold for messages below this sequence; 0 = not known."""
    batches: dict[int, Position] = msgspec.field(default_factory=dict)
    """Kept batches by number: the sequences of each."""

    @property
    def numbers(self) -> Ledger:
        """Its numbers at this moment."""
        uncounted = self.uncounted.count() if self.uncounted else 0
        pending = self.pending + self.missing
        return Ledger(self.matched, self.delivered, self.dead_lettered, self.dropped, self.filtered, pending, uncounted)

    @property
    def difference(self) -> int:
        """Difference between the two sides of the identity; anything but 0 is a bug of the router."""
        return self.matched - self.delivered - self.filtered - self.dead_lettered - self.dropped - self.pending - self.missing

    def imbalance(self, pending: int, dead_letters: int) -> list[str]:
        """Return the contradictions of the ledger, one line each.

        Args:
            pending: messages found that the sink wants and has not settled.
            dead_letters: dead letters found.
        """
        problems = []
        if self.difference:
            problems.append(f"sink {self.name}: {self.difference_told}")
        if self.pending != pending:
            problems.append(f"sink {self.name}: {self.pending} messages pending by the ledger, {pending} stored")
        if self.dead_lettered != dead_letters:
            problems.append(f"sink {self.name}: {self.dead_lettered} dead letters by the ledger, {dead_letters} stored")
        return problems

    @property
    def difference_told(self) -> str:
        """The numbers that do not add up."""
        return (
            f"the ledger does not add up: {self.matched} matched, but {self.delivered} delivered, {self.filtered} filtered, "
            f"{self.dead_lettered} dead-lettered, {self.dropped} dropped and {self.pending} pending"
        )

    def change_filters(self, filters: tuple[str, ...], end: int) -> None:
        """Have what waits counted by other filters.

        Args:
            filters: the new ones.
            end: the sequence that the next message will have.
        """
        counted = self.position.copy()
        counted.remove(end, OPEN)
        # dead letters that are being stored and batches that were written go their way, whatever the filters say
        for other in (*(part.ranges for part in self.uncounted), self.leaving, *self.batches.values()):
            for a, b in other:
                counted.remove(a, b)
        self.uncounted.add(self.filters, counted)
        self.uncounted.forget_filters(filters)
        self.filters = filters
        self.since = end

    def look_at(self, chunk: Chunk, ranges: Iterable[tuple[int, int]], now: Callable[[str], bool]) -> None:
        """Count what is not counted of a chunk in memory.

        Args:
            chunk: holds the ranges.
            ranges: what of it is looked at.
            now: the sink's present filters.
        """
        for within in ranges:
            self.recount(self.uncounted.compare(chunk, within, self.key, now))

    def recount(self, found: Iterable[Counted]) -> None:
        """Count messages by the present filters."""
        for start, end, gained, lost in found:
            again = min(gained, self.missing) if start < self.known_to else 0
            self.missing -= again
            self.matched += gained - again
            self.pending += gained - lost
            self.filtered += lost
            self.uncounted.remove(start, end)
            self.changed = True

    def gone(self, start: int, end: int) -> int:
        """Count uncounted sequences that are not stored; returns how many messages of them are lost that are not `missing`."""
        lost = self.uncounted.count(max(start, self.vouched[0]), min(end, self.vouched[1]))
        self.uncounted.remove(start, end)
        self.changed = True
        if self.filters != ("#",):
            return 0  # unknown which of them the sink wanted
        self.matched += lost
        self.dropped += lost
        return lost

    def give_up_missing(self) -> int:
        """Everything has been looked at: what is missing is gone. Returns how many messages that are."""
        missing, self.missing = self.missing, 0
        self.known_to, self.vouched = 0, (0, 0)
        self.dropped += missing
        self.changed = self.changed or bool(missing)
        return missing

    def after_damage(self, end: int, missing: tuple[int, int] | None, *, doubtful: bool) -> None:
        """Have counted at the start what damage may have taken.

        Args:
            end: the sequence that the next message will have.
            missing: sequences that were given to messages and that the database does not know.
            doubtful: messages that are counted may be gone.
        """
        counted_to = self.counted_to or end
        if doubtful:
            ranges = self.position.copy()
            ranges.remove(end, OPEN)
            self.doubt(ranges, self.known_to if self.missing else counted_to)
        elif missing is not None:
            self.uncounted.add((), self.position.intersect(*missing))
        if missing is not None:
            self.vouched = missing
        self.changed = True

    def doubt(self, ranges: Iterable[tuple[int, int]], known_to: int, held: int = 0) -> None:
        """After damage, count what is pending anew.

        Args:
            ranges: what is to be looked at.
            known_to: messages from this sequence on were not counted before.
            held: pending messages that are in memory, and so not lost.
        """
        self.missing += self.pending - held
        self.pending = held
        self.known_to = known_to
        self.uncounted = Uncounted()
        self.uncounted.add((), ranges)
        self.changed = True

    def losable(self, start: int, end: int) -> list[tuple[int, int]]:
        """Return what is lost when these sequences are gone."""
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
        self.settle(ranges, counted)

    def kept(self) -> list[int]:
        """Forget the batches of which everything is settled; returns their numbers."""
        done = [
            number for number, batch in self.batches.items() if not any(self.position.overlaps(start, end) for start, end in batch)
        ]
        for number in done:
            del self.batches[number]
        return done

    def settle(self, ranges: Iterable[tuple[int, int]], messages: int) -> None:
        """Take settled messages out of the position.

        Args:
            ranges: what is settled, with what stands between the messages and is not wanted.
            messages: how many messages; the caller has counted what became of them.
        """
        twice = 0
        for start, end in ranges:
            twice += end - start - self.position.count(start, end)
            self._remove(start, end)
        # what is no longer in the position was subtracted before: if it is settled again, the numbers must show it
        self.pending -= messages - twice
        self.changed = True

    def skip(self, ranges: Iterable[tuple[int, int]]) -> None:
        """Take out of the position what the sink does not want, or what is gone and counted already."""
        for start, end in ranges:
            self._remove(start, end)
        self.changed = True

    def _remove(self, start: int, end: int) -> None:
        self.position.remove(start, end)
        if self.uncounted:
            self.uncounted.remove(start, end)


def seal(data: bytes) -> bytes:
    """Data with its checksum, because SQLite has none."""
    return crc32(data).to_bytes(4, "little") + data


def unseal(data: bytes) -> bytes:
    """Return the data that `seal` was given.

    Raises:
        ValueError: it is not what was written.
    """
    if len(data) < 4 or int.from_bytes(data[:4], "little") != crc32(data[4:]):
        raise ValueError("the checksum is wrong")
    return data[4:]
