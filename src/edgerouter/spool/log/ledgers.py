"""The accounts of all sinks of a spool: who is attached, what new chunks mean for each, and what nobody needs any more."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import structlog

from edgerouter.message import Message
from edgerouter.spool.contract import Route
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.grouping import Append, Matchers
from edgerouter.spool.log.ledger import Account
from edgerouter.spool.log.position import OPEN, Position
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.log.storage import Shelf
from edgerouter.topics import Matcher, first_level

MOST_DROPS: Final = 1000
"""Kinds of drops counted apart, by sink, first topic level and reason: they are held in memory, and each is a metric."""
OTHER_TOPICS: Final = "(other)"
"""Stands for all further first levels."""

log = structlog.get_logger("edgerouter.spool")


class Accounts:
    """All sinks that hold a position, attached or not."""

    def __init__(self) -> None:
        self._accounts: dict[str, Account] = {}
        self._readers: dict[str, LogReader] = {}
        self._forgotten: dict[str, Account] = {}
        self.forgotten = False
        """Accounts were lost: whoever seems new begins with the oldest message, because twice is better than never."""
        self.routing = 0
        """Changes with every sink that comes or goes: counts made before that do not hold."""
        self.settled = Position()
        """Sequences that some sink has settled since somebody looked whether anybody needs them."""
        self.drops: Counter[tuple[str, str, str]] = Counter()
        """Dropped messages by (sink, first topic level, reason)."""

    def __iter__(self) -> Iterator[Account]:
        return iter(list(self._accounts.values()))

    def __contains__(self, sink: object) -> bool:
        return sink in self._accounts

    def __getitem__(self, sink: str) -> Account:
        return self._accounts[sink]

    def reader(self, sink: str) -> LogReader | None:
        """The reader of an attached sink."""
        return self._readers.get(sink)

    @property
    def orphans(self) -> tuple[str, ...]:
        """Sinks that hold a position and are not attached."""
        return tuple(sorted(self._accounts.keys() - self._readers.keys()))

    def restore(self, account: Account, end: int) -> None:
        """An account of an earlier run. Until its sink is attached, it wants nothing that is new."""
        self._accounts[account.name] = account
        if account.position.end > end:
            account.left = end
            account.position.remove(end, OPEN)
            account.uncounted.remove(end, OPEN)
            account.changed = True
        # beyond the end only where the spool's own record was lost and numbering begins lower
        account.since = min(account.since, end)

    def attach(self, route: Route, shelf: Shelf, *, first: int, new_key: Callable[[], int], oldest_at: int | None) -> LogReader:
        """Open a sink's account, or make one.

        Args:
            route: how the sink reads.
            shelf: the spool.
            first: lowest sequence stored.
            new_key: makes a key for a new sink.
            oldest_at: when the oldest message that it has pending was received, if it is known.
        """
        end = shelf.end
        account = self._accounts.get(route.sink)
        if account is None:
            account = self._accounts[route.sink] = Account(route.sink, new_key(), route.filters, since=end)
            if route.start == "oldest" or self.forgotten:
                account.position.add(first, end)
                account.uncounted.add((), [(first, end)])
            self._continue(account)
        elif set(account.filters) != set(route.filters):
            account.change_filters(route.filters, end)
        elif route.sink not in self._readers and account.left < end:
            # what came in while it was away was not counted for it, and a replay may ask for that
            account.since = end
        account.position.add(end, OPEN)
        account.changed = True
        before = self._readers.get(route.sink)
        if before is not None:
            before.close()
        reader = self._readers[route.sink] = LogReader(account, route, shelf, oldest_at=oldest_at)
        self.routing += 1
        return reader

    def detach(self, sink: str, end: int) -> None:
        """The sink wants nothing that is new; what it has pending stays."""
        reader = self._readers.pop(sink, None)
        if reader is None:
            return
        reader.close()
        reader.account.left = end
        reader.account.position.remove(end, OPEN)
        reader.account.changed = True
        self.routing += 1

    def forget(self, sink: str) -> Account:
        """Give up the account of a sink that is not attached.

        Raises:
            KeyError: there is no such account.
            ValueError: the sink is attached.
        """
        if sink in self._readers:
            raise ValueError(f"the sink {sink!r} is in the configuration")
        account = self._accounts.pop(sink)
        for start, end in account.position:
            self.settled.add(start, end)
        self._forgotten[sink] = account
        return account

    def _continue(self, account: Account) -> None:
        """Go on with the numbers of a sink of this name that was forgotten: a counter does not fall while the process lives."""
        before = self._forgotten.pop(account.name, None)
        if before is not None:
            account.matched = before.matched
            account.delivered = before.delivered
            account.filtered = before.filtered
            account.dead_lettered = before.dead_lettered
            account.dropped = before.dropped + before.pending

    @property
    def faults(self) -> dict[str, str]:
        """Why the numbers of a sink cannot be right, by its name."""
        return {account.name: account.fault for account in self._accounts.values() if account.fault}

    @property
    def matchers(self) -> Matchers:
        """How each attached sink matches topics."""
        return {reader.account.key: reader.route.matches for reader in self._readers.values()}

    def keys(self, wanted: Mapping[str, int]) -> dict[int, int]:
        """The counts by name as counts by key, of attached sinks that want something."""
        readers = self._readers
        return {readers[sink].account.key: count for sink, count in wanted.items() if count and sink in readers}

    def recount(self, append: Append) -> None:
        """Sinks have come or gone since the delivery was routed: route it again."""
        if append.only:
            return
        topics = [message.topic for message in append.delivery.messages]
        counts = {key: sum(map(matches, topics)) for key, matches in self.matchers.items()}
        append.wanted = {key: count for key, count in counts.items() if count}
        append.routing = self.routing

    def stored(self, chunk: Chunk) -> None:
        """A chunk is safe: count it for every sink that wants it, and tell the readers."""
        wanted = chunk.wanted
        if not wanted:
            self.settled.add(chunk.first, chunk.end)
        for account in self._accounts.values():
            count = wanted.get(account.key, 0)
            if chunk.only and count:
                account.dead_lettered -= count
                account.pending += count
                account.position.add(chunk.first, chunk.end)
            elif count:
                account.matched += count
                account.pending += count
            reader = self._readers.get(account.name)
            if reader is not None:
                reader.appended(chunk, count)

    def pending_in(self, account: Account, chunk: Chunk, ranges: Sequence[tuple[int, int]]) -> list[Message]:
        """The messages in these ranges of a chunk that a sink wants."""
        wanted = chunk.wanted_by(account.key, account.since)
        if wanted == 0:
            return []
        messages = [m for start, end in ranges for m in chunk.messages[start - chunk.first : end - chunk.first]]
        if wanted == len(chunk.messages):
            return messages
        matches = self.wants(account)
        return [message for message in messages if matches(message.topic)]

    def wants(self, account: Account) -> Callable[[str], bool]:
        """Return what tells whether a sink wants a topic, by its present filters."""
        reader = self._readers.get(account.name)
        return reader.route.matches if reader is not None else Matcher(account.filters)

    def lose(self, chunk: Chunk, reason: str) -> None:
        """A chunk is going to be deleted: count as dropped what any sink had pending of it."""
        for account in self._accounts.values():
            ranges = account.losable(chunk.first, chunk.end)
            if not ranges:
                continue
            messages = self.pending_in(account, chunk, ranges)
            if account.uncounted:
                account.look_at(chunk, ranges, self.wants(account))
            account.drop(ranges, len(messages))
            self.count_drops(account.name, Counter(message.topic for message in messages), reason)
            self.forget_read(account, chunk.first, chunk.end)

    def forget_read(self, account: Account, start: int, end: int) -> None:
        """What the sink has read of these must not be settled any more."""
        reader = self._readers.get(account.name)
        if reader is not None:
            reader.forget(start, end)

    def replayable(
        self, account: Account, chunk: Chunk, asked: Callable[[str], bool], since: int | None, until: int | None
    ) -> list[Message]:
        """The messages of a chunk that a sink wanted, has settled, and that are asked for."""
        return [
            message
            for message in self._settled_in(account, chunk)
            if asked(message.topic)
            and (since is None or message.received_at >= since)
            and (until is None or message.received_at < until)
        ]

    def _settled_in(self, account: Account, chunk: Chunk) -> list[Message]:
        if chunk.only not in (0, account.key):
            return []
        matches = self.wants(account)
        return [m for m in chunk.messages if m.sequence not in account.position and (chunk.only or matches(m.topic))]

    def replay(self, account: Account, chunk: Chunk, messages: Sequence[Message]) -> None:
        """Make `replayable` messages pending again, in as few ranges as that takes."""
        added = Position((message.sequence, message.sequence + 1) for message in messages)
        if len(messages) == len(self._settled_in(account, chunk)):
            # what stands between them the sink does not want anyway
            added = Position([(messages[0].sequence, messages[-1].sequence + 1)])
            for start, end in account.position.intersect(chunk.first, chunk.end):
                added.remove(start, end)
        for start, end in added:
            account.position.add(start, end)
        account.matched += len(messages)
        account.pending += len(messages)
        account.changed = True
        reader = self._readers.get(account.name)
        if reader is not None:
            reader.replayed(list(added))

    def reject(self, append: Append, reason: str) -> None:
        """A delivery is not taken in: count it as dropped for every sink that wants it."""
        topics = [message.topic for message in append.delivery.messages]
        matchers = self.matchers
        for account in self._accounts.values():
            count = append.wanted.get(account.key, 0)
            if count:
                account.matched += count
                account.dropped += count
                account.changed = True
                self.count_drops(account.name, Counter(filter(matchers[account.key], topics)), reason)

    def check(self, account: Account, end: int) -> None:
        """Notice numbers that cannot be right, and say so: they are not corrected, since it is unknown which of them is wrong.

        Args:
            account: of a sink that has just settled something.
            end: the sequence that the next message will have.
        """
        first = account.position.first
        done = first is None or first >= end
        fault = ""
        if account.difference:
            fault = account.difference_told
        elif account.pending < 0 or (done and account.pending):
            fault = f"the ledger says that {account.pending} messages are pending, but none is stored"
        if fault and not account.fault:
            log.error(fault, sink=account.name)
        account.fault = fault

    def counted(self, account: Account) -> None:
        """Everything that waits for a sink has been looked at: what damage has taken of it is dropped."""
        missing = account.give_up_missing()
        if missing:
            log.error("messages are lost to damage", sink=account.name, messages=missing)
            self.count_drops(account.name, Counter({"": missing}), "damaged")

    def gone(self, account: Account, start: int, end: int) -> None:
        """Nothing is stored under these sequences, which were not counted."""
        lost = account.gone(start, end)
        if lost:
            log.error("messages are lost to damage", sink=account.name, messages=lost)
            self.count_drops(account.name, Counter({"": lost}), "damaged")

    def doubt(self, account: Account, end: int) -> None:
        """After damage, count anew what is pending for a sink, but for what its reader holds in memory."""
        reader = self._readers.get(account.name)
        if reader is not None:
            account.doubt(reader.unread(end), account.known_to if account.missing else end, reader.held + account.leaving_messages)
            return
        ranges = account.position.copy()
        for start, stop in ((end, OPEN), *account.leaving):
            ranges.remove(start, stop)
        account.doubt(ranges, account.known_to if account.missing else end, account.leaving_messages)

    def count_drops(self, sink: str, topics: Counter[str], reason: str) -> None:
        """Count dropped messages by topic; only the first level, so that the numbers stay few."""
        drops = self.drops
        for topic, count in topics.items():
            key = (sink, first_level(topic), reason)
            if key not in drops and len(drops) >= MOST_DROPS:
                key = (sink, OTHER_TOPICS, reason)
            drops[key] += count
