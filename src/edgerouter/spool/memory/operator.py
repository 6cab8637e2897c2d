"""What an operator does with a volatile spool: dead letters, replay, verify."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.spool.contract import DeadLetter, LetterFilter, Rejection, Verification
from edgerouter.spool.log.chunk import OVERHEAD, Chunk
from edgerouter.spool.log.ledgers import Accounts
from edgerouter.topics import Matcher, matches


class MemoryLetters:
    """Dead letters as long as the process lives, the oldest dropped when they are too many."""

    def __init__(self, accounts: Accounts, quota: int) -> None:
        self._accounts = accounts
        self._quota = quota
        self._letters: dict[int, DeadLetter] = {}
        self._next = 1
        self.bytes = 0

    def __len__(self) -> int:
        return len(self._letters)

    def add(self, sink: str, rejections: Iterable[Rejection]) -> None:
        """Keep letters; the account has counted them."""
        now = time.time_ns()
        for r in rejections:
            letter = DeadLetter(self._next, sink, r.message, r.reason, r.error, r.attempts, r.first_attempt, now, r.config_digest)
            self._letters[self._next] = letter
            self._next += 1
            self.bytes += _size(letter)
        while self.bytes > self._quota and self._letters:
            self.drop([next(iter(self._letters.values()))], "dead_letters_full")

    def find(self, which: LetterFilter) -> list[DeadLetter]:
        """The letters that the filter lets through."""
        return [letter for letter in self._letters.values() if _lets_through(which, letter)]

    def remove(self, letters: Iterable[DeadLetter]) -> None:
        """Take letters out; the caller counts."""
        for letter in letters:
            self.bytes -= _size(self._letters.pop(letter.number))

    def drop(self, letters: Sequence[DeadLetter], reason: str) -> None:
        """Throw letters away; they count as dropped."""
        self.remove(letters)
        for letter in letters:
            if letter.sink in self._accounts:
                account = self._accounts[letter.sink]
                account.dead_lettered -= 1
                account.dropped += 1
            self._accounts.count_drops(letter.sink, Counter([letter.message.topic]), reason)


class MemoryTools:
    """The same as for a durable spool, with what there is."""

    def __init__(
        self,
        accounts: Accounts,
        letters: MemoryLetters,
        chunks: Mapping[int, Chunk],
        put: Callable[[Iterable[Message], Mapping[int, int], int], Chunk],
    ) -> None:
        self._accounts = accounts
        self._letters = letters
        self._chunks = chunks
        self._put = put

    async def dead_letters(self, which: LetterFilter, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        return [letter for letter in self._letters.find(which) if letter.number > after][:limit]

    async def count_dead_letters(self, which: LetterFilter) -> int:
        return len(self._letters.find(which))

    async def replay_dead_letters(self, which: LetterFilter) -> int:
        letters = [letter for letter in self._letters.find(which) if letter.sink in self._accounts]
        self._letters.remove(letters)
        for sink in sorted({letter.sink for letter in letters}):
            messages = [letter.message for letter in letters if letter.sink == sink]
            key = self._accounts[sink].key
            self._put(messages, {key: len(messages)}, key)
        return len(letters)

    async def purge_dead_letters(self, which: LetterFilter) -> int:
        letters = self._letters.find(which)
        self._letters.drop(letters, "purged")
        return len(letters)

    async def replay(
        self, sink: str, *, topic: str = "#", since: int | None = None, until: int | None = None, dry_run: bool = False
    ) -> int:
        if sink not in self._accounts:
            raise SpoolError(f"the spool holds nothing for a sink {sink!r}")
        account = self._accounts[sink]
        asked = Matcher([topic])
        found = 0
        for chunk in self._chunks.values():
            replayed = self._accounts.replayable(account, chunk, asked, since, until)
            found += len(replayed)
            if replayed and not dry_run:
                self._accounts.replay(account, chunk, replayed)
        return found

    async def verify(self) -> Verification:
        problems = []
        for account in self._accounts:
            pending = 0
            for chunk in self._chunks.values():
                pending += len(self._accounts.pending_in(account, chunk, account.position.intersect(chunk.first, chunk.end)))
            letters = len(self._letters.find(LetterFilter(sink=account.name)))
            problems += account.imbalance(pending, letters)
        return Verification(len(self._chunks), sum(len(c.messages) for c in self._chunks.values()), 0, tuple(problems))


def _size(letter: DeadLetter) -> int:
    return len(letter.message.payload) + len(letter.message.topic) + len(letter.reason) + OVERHEAD


def _lets_through(which: LetterFilter, letter: DeadLetter) -> bool:
    return (
        (which.sink is None or letter.sink == which.sink)
        and (which.topic is None or matches(which.topic, letter.message.topic))
        and (which.since is None or letter.last_attempt >= which.since)
        and (which.until is None or letter.last_attempt < which.until)
        and (which.reason is None or which.reason.lower() in f"{letter.reason} {letter.error}".lower())
        and (not which.numbers or letter.number in which.numbers)
    )
