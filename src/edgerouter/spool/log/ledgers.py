"""The ledgers of all sinks of a spool: which are attached, what new chunks change in each, and what can be trimmed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence

import structlog

from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.spool.contract import Route
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.drops import Drops
from edgerouter.spool.log.grouping import Append, Matchers, counts
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.log.storage import LogStorage
from edgerouter.topics import Matcher

log = structlog.get_logger("edgerouter.spool")


class Ledgers:
    """All sinks that hold a position, attached or not."""

    def __init__(self, *, forgotten: bool = False) -> None:
        self._ledgers: dict[str, SinkLedger] = {}
        self._readers: dict[str, LogReader] = {}
        self._forgotten: dict[str, SinkLedger] = {}
        self.forgotten = forgotten
        """Ledgers were lost: a sink that seems new begins with the oldest message, because twice is better than never."""
        self.routing = 0
        """Changes with every sink that comes or goes: counts made before that do not hold."""
        self.settled = Position()
        """Sequences that some sink has settled since the last trim: candidates for deletion."""
        self.drops = Drops()

    def __iter__(self) -> Iterator[SinkLedger]:
        return iter(list(self._ledgers.values()))

    def __contains__(self, sink: object) -> bool:
        return sink in self._ledgers

    def __getitem__(self, sink: str) -> SinkLedger:
        if sink not in self._ledgers:
            raise SpoolError(f"the spool holds nothing for a sink {sink!r}")
        return self._ledgers[sink]

    def reader(self, sink: str) -> LogReader | None:
        """The reader of an attached sink."""
        return self._readers.get(sink)

    @property
    def unread_from(self) -> int:
        """The lowest sequence that an attached sink has not read yet."""
        return min([reader.unread_from for reader in self._readers.values()], default=OPEN)

    @property
    def orphans(self) -> tuple[str, ...]:
        """Sinks that hold a position and are not attached."""
        return tuple(sorted(self._ledgers.keys() - self._readers.keys()))

    def restore(self, ledger: SinkLedger, end: int) -> None:
        """An ledger of an earlier run. Until its sink is attached, it wants nothing that is new."""
        self._ledgers[ledger.name] = ledger
        if ledger.position.end > end:
            ledger.left = end
            ledger.position.remove(end, OPEN)
            ledger.uncounted.remove(end, OPEN)
            ledger.changed = True
        # beyond the end only where the spool's own record was lost and numbering begins lower
        ledger.since = min(ledger.since, end)

    def attach(
        self, route: Route, storage: LogStorage, *, first: int, new_key: Callable[[], int], oldest_at: int | None
    ) -> LogReader:
        """Open a sink's ledger, or make one.

        Args:
            route: how the sink reads.
            storage: the spool.
            first: lowest sequence stored.
            new_key: makes a key for a new sink.
            oldest_at: when the oldest message that it has pending was received, if it is known.
        """
        end = storage.end
        ledger = self._ledgers.get(route.sink)
        if ledger is None:
            ledger = self._ledgers[route.sink] = SinkLedger(route.sink, new_key(), route.filters, since=end)
            if route.start == "oldest" or self.forgotten:
                ledger.position.add(first, end)
                ledger.uncounted.add((), [(first, end)])
            self._continue(ledger)
        elif set(ledger.filters) != set(route.filters):
            ledger.change_filters(route.filters, end)
        elif route.sink not in self._readers and ledger.left < end:
            # what came in while it was away was not counted for it, and a replay may ask for that
            ledger.since = end
        ledger.position.add(end, OPEN)
        ledger.changed = True
        before = self._readers.get(route.sink)
        if before is not None:
            before.close()
        reader = self._readers[route.sink] = LogReader(ledger, route, storage, oldest_at=oldest_at)
        self.routing += 1
        return reader

    def detach(self, sink: str, end: int) -> None:
        """The sink wants nothing that is new; what it has pending stays."""
        reader = self._readers.pop(sink, None)
        if reader is None:
            return
        reader.close()
        reader.sink_ledger.left = end
        reader.sink_ledger.position.remove(end, OPEN)
        reader.sink_ledger.changed = True
        self.routing += 1

    def forget(self, sink: str) -> SinkLedger:
        """Give up the ledger of a sink that is not attached.

        Raises:
            SpoolError: there is no such ledger, or the sink is attached.
        """
        ledger = self[sink]
        if sink in self._readers:
            raise SpoolError(f"the sink {sink!r} is in the configuration")
        del self._ledgers[sink]
        for start, end in ledger.position:
            self.settled.add(start, end)
        self._forgotten[sink] = ledger
        return ledger

    def _continue(self, ledger: SinkLedger) -> None:
        """Continue the numbers of a sink of this name that was forgotten: a counter does not fall while the process lives."""
        before = self._forgotten.pop(ledger.name, None)
        if before is not None:
            ledger.matched = before.matched
            ledger.delivered = before.delivered
            ledger.filtered = before.filtered
            ledger.dead_lettered = before.dead_lettered
            ledger.dropped = before.dropped + before.pending

    def changed(self) -> None:
        """Have all ledgers written anew."""
        for ledger in self._ledgers.values():
            ledger.changed = True

    @property
    def faults(self) -> dict[str, str]:
        """Why the numbers of a sink cannot be right, by its name."""
        return {ledger.name: ledger.fault for ledger in self._ledgers.values() if ledger.fault}

    @property
    def matchers(self) -> Matchers:
        """Topic filters of the attached sinks, by their keys."""
        return {reader.sink_ledger.key: reader.route.matches for reader in self._readers.values()}

    def keys(self, wanted: Mapping[str, int]) -> dict[int, int]:
        """The counts by name as counts by key, of attached sinks that want something."""
        readers = self._readers
        return {readers[sink].sink_ledger.key: count for sink, count in wanted.items() if count and sink in readers}

    def recount(self, append: Append) -> None:
        """Sinks have come or gone since the delivery was routed: route it again."""
        if append.only:
            return
        append.wanted = counts(append.delivery.messages, self.matchers)
        append.routing = self.routing

    def stored(self, chunk: Chunk) -> None:
        """A chunk is safe: count it for every sink that wants it, and wake the readers."""
        wanted = chunk.wanted
        if not wanted:
            self.settled.add(chunk.first, chunk.end)
        for ledger in self._ledgers.values():
            count = wanted.get(ledger.key, 0)
            if chunk.only and count:
                ledger.dead_lettered -= count
                ledger.pending += count
                ledger.position.add(chunk.first, chunk.end)
            elif count:
                ledger.matched += count
                ledger.pending += count
            reader = self._readers.get(ledger.name)
            if reader is not None:
                reader.appended(chunk, count)

    def pending_in(self, ledger: SinkLedger, chunk: Chunk, ranges: Sequence[tuple[int, int]]) -> list[Message]:
        """The messages in these ranges of a chunk that a sink wants."""
        wanted = chunk.wanted_by(ledger.key, ledger.since)
        if wanted == 0:
            return []
        if wanted == len(chunk.messages):
            return [m for start, end in ranges for m in chunk.messages[start - chunk.first : end - chunk.first]]
        matches = self.wants(ledger)
        return [message for start, end in ranges for message in chunk.matching(matches, start, end)]

    def wants(self, ledger: SinkLedger) -> Callable[[str], bool]:
        """Return the present topic filters of a sink as a function: True for a topic that it wants."""
        reader = self._readers.get(ledger.name)
        return reader.route.matches if reader is not None else Matcher(ledger.filters)

    def lose(self, chunk: Chunk, reason: str) -> None:
        """A chunk is going to be deleted: count as dropped what any sink had pending of it."""
        for ledger in self._ledgers.values():
            ranges = ledger.losable(chunk.first, chunk.end)
            if not ranges:
                continue
            messages = self.pending_in(ledger, chunk, ranges)
            if ledger.uncounted:
                ledger.look_at(chunk, ranges, self.wants(ledger))
            ledger.drop(ranges, len(messages))
            self.drops.count(ledger.name, Counter(message.topic for message in messages), reason)
            self.forget_read(ledger, chunk.first, chunk.end)

    def forget_read(self, ledger: SinkLedger, start: int, end: int) -> None:
        """Forget what the sink has read of these: it must not be settled any more."""
        reader = self._readers.get(ledger.name)
        if reader is not None:
            reader.forget(start, end)

    def reject(self, append: Append, reason: str) -> None:
        """A delivery is not taken in: count it as dropped for every sink that wants it."""
        topics = [message.topic for message in append.delivery.messages]
        matchers = self.matchers
        for ledger in self._ledgers.values():
            count = append.wanted.get(ledger.key, 0)
            if count:
                ledger.matched += count
                ledger.dropped += count
                ledger.changed = True
                self.drops.count(ledger.name, Counter(filter(matchers[ledger.key], topics)), reason)

    def check(self, ledger: SinkLedger, end: int) -> None:
        """Notice numbers that cannot be right, and say so: they are not corrected, since it is unknown which of them is wrong.

        Args:
            ledger: of a sink that has just settled something.
            end: the sequence that the next message will have.
        """
        first = ledger.position.first
        done = first is None or first >= end
        fault = ""
        if ledger.difference:
            fault = ledger.difference_told
        elif ledger.pending < 0 or (done and ledger.pending):
            fault = f"the ledger says that {ledger.pending} messages are pending, but none is stored"
        if fault and not ledger.fault:
            log.error(fault, sink=ledger.name)
        ledger.fault = fault

    def counted(self, ledger: SinkLedger) -> None:
        """Everything that waits for a sink has been looked at: what damage has taken of it is dropped."""
        missing = ledger.give_up_missing()
        if missing:
            log.error("messages are lost to damage", sink=ledger.name, messages=missing)
            self.drops.count(ledger.name, Counter({"": missing}), "damaged")

    def gone(self, ledger: SinkLedger, start: int, end: int) -> None:
        """Nothing is stored under these sequences, which were not counted."""
        lost = ledger.gone(start, end)
        if lost:
            log.error("messages are lost to damage", sink=ledger.name, messages=lost)
            self.drops.count(ledger.name, Counter({"": lost}), "damaged")

    def doubt(self, ledger: SinkLedger, end: int) -> None:
        """After damage, count anew what is pending for a sink, but for what its reader holds in memory."""
        reader = self._readers.get(ledger.name)
        if reader is not None:
            ledger.doubt(reader.unread(end), ledger.known_to if ledger.missing else end, reader.held + ledger.leaving_messages)
            return
        ranges = ledger.position.copy()
        for start, stop in ((end, OPEN), *ledger.leaving):
            ranges.remove(start, stop)
        ledger.doubt(ranges, ledger.known_to if ledger.missing else end, ledger.leaving_messages)
