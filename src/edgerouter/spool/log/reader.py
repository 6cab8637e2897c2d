"""A reader: takes out of the spool what one sink wants, in order, and settles it. Both spools use it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Final

from edgerouter.message import Message
from edgerouter.spool.contract import Rejection, Route
from edgerouter.spool.log.ages import Ages
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.cursor import Cursor, Piece
from edgerouter.spool.log.in_flight import InFlight
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.spool.log.storage import Loaded, LogStorage
from edgerouter.spool.log.uncounted import Counted
from edgerouter.spool.status import Ledger

READ_AHEAD: Final = 2000
"""Messages below which a cursor that reads from the disk fetches more."""

_sequence = attrgetter("sequence")


class LogReader:
    """One sink's place in a spool.

    `unread` of its cursors, what waits in them, what was given back and what is taken make up what is pending in its position.
    """

    def __init__(self, ledger: SinkLedger, route: Route, storage: LogStorage, *, oldest_at: int | None = None) -> None:
        self.sink_ledger = ledger
        self.route = route
        self._closed = False
        self._storage = storage
        self._matches = route.matches
        self._ready: Callable[[], None] = lambda: None
        self._in_flight = InFlight()
        self._live = Cursor(ledger.position.copy())
        self._backlog: Cursor | None = None
        self._credit = 0.0
        self._ages = Ages()
        first = ledger.position.first
        if oldest_at is not None and first is not None:
            self._ages.note(first, oldest_at, first)
        if route.drain == "live_first":
            self._backlog = Cursor(ledger.position.copy())
            self._live.unread = self._backlog.unread.split(storage.end)

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return self.sink_ledger.numbers

    @property
    def oldest_pending_at(self) -> int | None:
        first = self.sink_ledger.position.first
        if first is None or first >= self._storage.end or (not self.sink_ledger.pending and not self.sink_ledger.uncounted):
            return None
        if (received_at := self._ages.of(first)) is not None:
            return received_at
        chunk = self._storage.find(first)
        while chunk is not None and not chunk.messages:
            # it stands for a place in the log only
            chunk = self._storage.find(chunk.end)
        return chunk.messages[0].received_at if chunk is not None else None

    def on_ready(self, call: Callable[[], None]) -> None:
        self._ready = call

    def take(self, max_messages: int) -> list[Message]:
        if max_messages < 1:
            return []
        out = self._in_flight.again(max_messages) if self._in_flight.returned else []
        for cursor in self._cursors():
            while len(out) < max_messages and (cursor.pieces or self._fill(cursor)):
                messages = cursor.take(max_messages - len(out), self._in_flight.starts)
                out = out + messages if out else messages
            if cursor.waiting < READ_AHEAD:
                self._read_ahead(cursor)
            if out:
                break
        return out

    @property
    def caught_up(self) -> bool:
        waiting = any(cursor is not None and cursor.pieces for cursor in (self._live, self._backlog))
        return not waiting and not self._in_flight.returned and self.unread_from >= self._storage.end

    def is_pending(self, message: Message) -> bool:
        return message.sequence in self.sink_ledger.position

    def give_back(self, messages: Sequence[Message]) -> None:
        if self._in_flight.give_back(messages):
            self._ready()

    def delivered(self, messages: Sequence[Message]) -> None:
        sequences, ranges = self._in_flight.settle(messages)
        if sequences:
            self.sink_ledger.delivered += len(sequences)
            self._settle(ranges, len(sequences))

    def filtered(self, messages: Sequence[Message]) -> None:
        sequences, ranges = self._in_flight.settle(messages)
        if sequences:
            self.sink_ledger.filtered += len(sequences)
            self._settle(ranges, len(sequences))

    def dropped(self, messages: Sequence[Message], reason: str) -> None:
        sequences, ranges = self._in_flight.settle(messages)
        if sequences:
            self.sink_ledger.dropped += len(sequences)
            known = set(sequences)
            topics = Counter(message.topic for message in messages if message.sequence in known)
            self._storage.count_drops(self.sink_ledger.name, topics, reason)
            self._settle(ranges, len(sequences))

    async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
        # no longer in flight: giving them back while they are being stored has no effect
        sequences, ranges = self._in_flight.settle([rejection.message for rejection in rejections])
        if sequences:
            once = {rejection.message.sequence: rejection for rejection in rejections}
            await self._storage.dead_letter(self.sink_ledger, ranges, [once[sequence] for sequence in sequences])

    async def keep_batch(self, messages: Sequence[Message]) -> None:
        await self._storage.keep_batch(self.sink_ledger, sorted(map(_sequence, messages)))

    async def kept_batches(self) -> list[list[Message]]:
        ledger = self.sink_ledger
        batches = await self._storage.kept_batches(ledger)
        for batch in batches:
            for sequence in map(_sequence, batch):
                self._remove_unread(sequence, sequence + 1)
                self._in_flight.starts[sequence] = sequence
                # it was written once, and is sent again whatever the filters say by now
                ledger.recount(
                    [Counted(sequence, sequence + 1, int(not p.filters), 0) for p in ledger.uncounted if sequence in p.ranges]
                )
        return batches

    # -- what the spool calls ---------------------------------------------------------------------------------------------------

    def appended(self, chunk: Chunk, wanted: int) -> None:
        """A chunk has come in, of which the sink wants some messages, or none."""
        if wanted:
            self._ready()
        elif self.sink_ledger.position.first == chunk.first:
            # nothing is pending before it, so skipping it now costs no further range
            self._live.unread.remove(chunk.first, chunk.end)
            self._skip([(chunk.first, chunk.end)])

    @property
    def unread_from(self) -> int:
        """The lowest sequence that was not read yet, wanted or not."""
        live = self._live.unread.first
        backlog = self._backlog.unread.first if self._backlog is not None else None
        return min([first for first in (live, backlog) if first is not None], default=OPEN)

    def unread(self, end: int) -> list[tuple[int, int]]:
        """Return the pending ranges below `end` that were not read."""
        unread = Position(self._live.unread)
        for start, stop in self._backlog.unread if self._backlog is not None else ():
            unread.add(start, stop)
        unread.remove(end, OPEN)
        return list(unread)

    @property
    def held(self) -> int:
        """Messages that were read and are pending: they are in memory."""
        return self._in_flight.count + self._live.held + (self._backlog.held if self._backlog is not None else 0)

    def replayed(self, ranges: Sequence[tuple[int, int]]) -> None:
        """These are pending again; the ledger knows already."""
        cursor = self._backlog or self._live
        for start, end in ranges:
            cursor.unread.add(start, end)
        self._ready()

    def forget(self, start: int, end: int) -> None:
        """These are gone: whatever was read or taken of them must not be settled any more."""
        self._remove_unread(start, end)
        gone = range(start, end).__contains__
        for cursor in (self._live, self._backlog):
            if cursor is not None:
                cursor.discard(gone)
        self._in_flight.discard(gone)

    def close(self) -> None:
        """Another reader takes over; what is settled here from now on does not count."""
        self._closed = True
        self._in_flight.clear()
        self._live = Cursor(Position())
        self._backlog = None

    # -- reading ----------------------------------------------------------------------------------------------------------------

    def _cursors(self) -> tuple[Cursor, ...]:
        backlog = self._backlog
        if backlog is None:
            return (self._live,)
        live_waits = bool(self._live.pieces) or self._fill(self._live)
        if not (backlog.pieces or self._fill(backlog)):
            return (self._live, backlog)
        if not live_waits:
            return (backlog, self._live)
        self._credit += self.route.backlog_share
        if self._credit < 1:
            return (self._live, backlog)
        self._credit -= 1
        return (backlog, self._live)

    def _fill(self, cursor: Cursor) -> bool:
        """Read on from memory; False when there is nothing more in memory."""
        end = self._storage.end
        while (first := cursor.unread.first) is not None and first < end:
            chunk = self._storage.find(first)
            if chunk is None:
                if cursor is self._live and self._backlog is not None:
                    # fallen behind: what is left is backlog, and live goes on at the newest
                    rest = cursor.unread.split(end)
                    for start, stop in cursor.unread:
                        self._backlog.unread.add(start, stop)
                    cursor.unread = rest
                return False
            self._scan(cursor, chunk)
            if cursor.pieces:
                return True
        return False

    def _read_ahead(self, cursor: Cursor) -> None:
        first = cursor.unread.first
        if cursor.loading or first is None or first >= self._storage.end or self._storage.find(first) is not None:
            return
        cursor.loading = True
        ranges = cursor.unread.intersect(first, self._storage.end)[:64]

        def done(loaded: Loaded) -> None:
            cursor.loading = False
            if self._closed:
                return
            for chunk in loaded.chunks:
                self._scan(cursor, chunk)
            # only what was asked for: a range that was added meanwhile has not been looked at
            gone = [part for start, end in ranges for part in cursor.unread.intersect(start, min(end, loaded.upto))]
            for start, end in gone:
                cursor.unread.remove(start, end)
            if gone:
                self._skip(gone)
            self._ready()

        self._storage.load(self.sink_ledger, ranges, done)

    def _scan(self, cursor: Cursor, chunk: Chunk) -> None:
        """Pick out of a chunk what the sink wants of it; settle at once what it does not want."""
        ledger = self.sink_ledger
        ranges = cursor.unread.intersect(chunk.first, chunk.end)
        cursor.unread.remove(chunk.first, chunk.end)
        wanted = chunk.wanted_by(ledger.key, ledger.since)
        if ledger.uncounted:
            ledger.look_at(chunk, ranges, self._matches)
        if wanted == 0 or not chunk.messages:
            self._skip(ranges)
            return
        if ranges:
            oldest = ledger.position.first or 0
            self._ages.note(ranges[0][0], chunk.messages[ranges[0][0] - chunk.first].received_at, oldest)
        last = chunk.first + len(chunk.messages)
        for start, stop in ranges:
            end = min(stop, last)
            if end < stop:
                # no message has these
                self._skip([(max(start, end), stop)])
            if wanted == len(chunk.messages):
                messages = chunk.messages[start - chunk.first : max(0, end - chunk.first)]
                piece = Piece(messages, range(start, end), range(start, end))
            else:
                piece, rest = Piece.of_wanted(chunk.matching(self._matches, start, end), start)
                if rest < end:
                    self._skip([(rest, end)])
            if piece.messages:
                cursor.put(piece)

    # -- settling ---------------------------------------------------------------------------------------------------------------

    def _settle(self, ranges: list[tuple[int, int]], messages: int) -> None:
        self.sink_ledger.settle(ranges, messages)
        self._storage.settled(self.sink_ledger, ranges)

    def _skip(self, ranges: list[tuple[int, int]]) -> None:
        self.sink_ledger.skip(ranges)
        self._storage.skipped(self.sink_ledger, ranges)

    def _remove_unread(self, start: int, end: int) -> None:
        self._live.unread.remove(start, end)
        if self._backlog is not None:
            self._backlog.unread.remove(start, end)
