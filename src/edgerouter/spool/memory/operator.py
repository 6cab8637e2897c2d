"""Operations on a volatile spool: dead letters, replay, verify."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from edgerouter.message import Message
from edgerouter.spool.contract import Rejection
from edgerouter.spool.log.chunk import OVERHEAD, Chunk
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.replay import replay, replayable, stored_in
from edgerouter.spool.memory.chunks import Chunks
from edgerouter.spool.operator import STORED_BYTES, DeadLetter, DeadLetterFilter, Stored, Verification
from edgerouter.topics import Matcher, matches


class MemoryDeadLetters:
    """Dead letters as long as the process lives, the oldest dropped when they are too many."""

    def __init__(self, ledgers: Ledgers, quota: int) -> None:
        self._ledgers = ledgers
        self._quota = quota
        self._dead_letters: dict[int, DeadLetter] = {}
        self._next = 1
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._dead_letters)

    def add(self, sink: str, rejections: Iterable[Rejection]) -> None:
        """Keep dead letters; the ledger has counted them."""
        now = time.time_ns()
        for r in rejections:
            letter = DeadLetter(self._next, sink, r.message, r.reason, r.error, r.attempts, r.first_attempt, now, r.config_digest)
            self._dead_letters[self._next] = letter
            self._next += 1
            self.bytes += _size(letter)
        while self.bytes > self._quota and self._dead_letters:
            self.drop([next(iter(self._dead_letters.values()))], "dead_letters_full")

    def find(self, which: DeadLetterFilter) -> list[DeadLetter]:
        """Return the dead letters that the filter lets through."""
        return [letter for letter in self._dead_letters.values() if _lets_through(which, letter)]

    def remove(self, letters: Iterable[DeadLetter]) -> None:
        """Remove dead letters; the caller counts."""
        for letter in letters:
            self.bytes -= _size(self._dead_letters.pop(letter.number))

    def drop(self, letters: Sequence[DeadLetter], reason: str) -> None:
        """Delete dead letters; they count as dropped."""
        self.remove(letters)
        for letter in letters:
            if letter.sink in self._ledgers:
                ledger = self._ledgers[letter.sink]
                ledger.dead_lettered -= 1
                ledger.dropped += 1
            self._ledgers.drops.count(letter.sink, Counter([letter.message.topic]), reason)


class MemoryTools:
    """The same as for a durable spool, with what there is."""

    def __init__(
        self,
        ledgers: Ledgers,
        dead_letters: MemoryDeadLetters,
        chunks: Chunks,
        put: Callable[[Iterable[Message], Mapping[int, int], int], Chunk],
    ) -> None:
        self._ledgers = ledgers
        self._dead_letters = dead_letters
        self._chunks = chunks
        self._put = put

    async def dead_letters(self, which: DeadLetterFilter, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        return [letter for letter in self._dead_letters.find(which) if letter.number > after][:limit]

    async def count_dead_letters(self, which: DeadLetterFilter) -> int:
        return len(self._dead_letters.find(which))

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        letters = [letter for letter in self._dead_letters.find(which) if letter.sink in self._ledgers]
        self._dead_letters.remove(letters)
        for sink in sorted({letter.sink for letter in letters}):
            messages = [letter.message for letter in letters if letter.sink == sink]
            key = self._ledgers[sink].key
            self._put(messages, {key: len(messages)}, key)
        return len(letters)

    async def purge_dead_letters(self, which: DeadLetterFilter) -> int:
        letters = self._dead_letters.find(which)
        self._dead_letters.drop(letters, "purged")
        return len(letters)

    async def replay(
        self, sink: str, *, topic: str = "#", since: int | None = None, until: int | None = None, dry_run: bool = False
    ) -> int:
        ledger = self._ledgers[sink]
        asked = Matcher([topic])
        found = 0
        for chunk in self._chunks:
            replayed = replayable(self._ledgers, ledger, chunk, asked, since=since, until=until)
            found += len(replayed)
            if replayed and not dry_run:
                replay(self._ledgers, ledger, chunk, replayed)
        return found

    async def stored(self, start: int, *, since: int | None = None, until: int | None = None) -> Stored:
        chunks: list[Chunk] = []
        size = 0
        for chunk in self._chunks.between(start, self._chunks.end):
            if size > STORED_BYTES:
                return Stored(stored_in(chunks, start, since, until), chunk.first)
            chunks.append(chunk)
            size += chunk.size
        return Stored(stored_in(chunks, start, since, until))

    async def verify(self) -> Verification:
        problems = []
        for ledger in self._ledgers:
            pending = 0
            for chunk in self._chunks:
                pending += len(self._ledgers.pending_in(ledger, chunk, ledger.position.intersect(chunk.first, chunk.end)))
            letters = len(self._dead_letters.find(DeadLetterFilter(sink=ledger.name)))
            problems += ledger.imbalance(pending, letters)
        return Verification(len(self._chunks), sum(len(c.messages) for c in self._chunks), 0, tuple(problems))


def _size(letter: DeadLetter) -> int:
    return len(letter.message.payload) + len(letter.message.topic) + len(letter.reason) + OVERHEAD


def _lets_through(which: DeadLetterFilter, letter: DeadLetter) -> bool:
    return (
        (which.sink is None or letter.sink == which.sink)
        and (which.topic is None or matches(which.topic, letter.message.topic))
        and (which.since is None or letter.last_attempt >= which.since)
        and (which.until is None or letter.last_attempt < which.until)
        and (which.reason is None or which.reason.lower() in f"{letter.reason} {letter.error}".lower())
        and (not which.numbers or letter.number in which.numbers)
    )
