"""Operations on the shared spool: dead letters, replay, verify."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from typing import Final

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.replay import replay, replayable, stored_in
from edgerouter.spool.operator import STORED_BYTES, DeadLetter, DeadLetterFilter, Stored, Verification
from edgerouter.topics import Matcher
from edgerouter_nats.spool.letters import Letters
from edgerouter_nats.spool.names import sink_of
from edgerouter_nats.spool.spool import JetStreamSpool

_AT_ONCE: Final = 500
"""Dead letters that are replayed in one chunk."""
_EVERY: Final = 5.0
"""Seconds between two comparisons of the dead letters with the ledgers, while this router changes none."""
_PAUSE: Final = 0.2
_SETTLED: Final = 4.0
"""Seconds for which a difference has to last before it is corrected: a message may be on its way."""
_FULL: Final = 0.9

log = structlog.get_logger("edgerouter.spool")


class JetStreamTools:
    """The part that operators use.

    Args:
        spool: open.
        letters: of all sinks.
    """

    def __init__(self, spool: JetStreamSpool, letters: Letters) -> None:
        self._spool = spool
        self._letters = letters

    async def dead_letters(self, which: DeadLetterFilter, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        found: list[DeadLetter] = []
        if limit < 1:
            return found
        async for _, letter in self._letters.read(which, after):
            found.append(letter)
            if len(found) >= limit:
                break
        return found

    async def count_dead_letters(self, which: DeadLetterFilter) -> int:
        if which == DeadLetterFilter(sink=which.sink):
            counts, _ = await self._letters.counts()
            return sum(count for ledger, count in counts.items() if which.sink in (None, sink_of(ledger)))
        return len([letter async for _, letter in self._letters.read(which)])

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        known = await self._spool.shard_records()
        waiting: dict[str, list[DeadLetter]] = {}
        replayed = 0
        async for ledger, letter in self._letters.read(which):
            if ledger not in known:
                continue
            some = waiting.setdefault(ledger, [])
            some.append(letter)
            if len(some) >= _AT_ONCE:
                replayed += await self._send_again(ledger, waiting.pop(ledger))
        for ledger, some in waiting.items():
            replayed += await self._send_again(ledger, some)
        return replayed

    async def _send_again(self, ledger: str, letters: list[DeadLetter]) -> int:
        # appended first: a crash between the two repeats them, and loses none
        await self._spool.replayed(ledger, [letter.message for letter in letters])
        await self._letters.delete(letter.number for letter in letters)
        return len(letters)

    async def purge_dead_letters(self, which: DeadLetterFilter) -> int:
        purged: dict[str, list[DeadLetter]] = {}
        async for ledger, letter in self._letters.read(which):
            purged.setdefault(ledger, []).append(letter)
        for ledger, letters in purged.items():
            await self._letters.delete(letter.number for letter in letters)
            self._dropped(ledger, letters)
        return sum(map(len, purged.values()))

    def _dropped(self, name: str, letters: list[DeadLetter]) -> None:
        """Count purged dead letters; where another router holds the ledger, it notices that they are gone."""
        held = self._spool.held
        if name in held:
            move_to_dropped(held[name], len(letters))
            self._spool.touch()
        self._spool.held.drops.count(sink_of(name), Counter(letter.message.topic for letter in letters), "purged")

    async def replay(
        self, sink: str, *, topic: str = "#", since: int | None = None, until: int | None = None, dry_run: bool = False
    ) -> int:
        held = await self._all_of(sink)
        asked, found = Matcher([topic]), 0
        async for chunk in self._spool.chunks(await self._spool.oldest(), self._spool.end):
            for ledger in held:
                messages = replayable(self._spool.held, ledger, chunk, asked, since=since, until=until)
                found += len(messages)
                if messages and not dry_run:
                    replay(self._spool.held, ledger, chunk, messages)
        if found and not dry_run:
            self._spool.touch()
            await self._spool.flush()
        return found

    async def _all_of(self, sink: str) -> list[SinkLedger]:
        """Return the ledgers of all shards of a sink, which must be held here: another router's position is not ours to write.

        Raises:
            SpoolError: they are not.
        """
        stored = {name for name in await self._spool.shard_records() if sink_of(name) == sink}
        if not stored:
            raise SpoolError(f"the spool holds nothing for a sink {sink!r}")
        if self._spool.acquire is not None:
            await self._spool.acquire(sink)
        held = {ledger.name: ledger for ledger in self._spool.held if sink_of(ledger.name) == sink}
        if stored - held.keys():
            by = self._spool.overview.routers()
            routers = ", ".join(name for name, ledgers in by.items() if stored & set(ledgers) - held.keys()) or "none at the moment"
            raise SpoolError(f"shards of the sink {sink!r} are drained elsewhere, where this command has to run too: {routers}")
        return list(held.values())

    async def stored(self, start: int, *, since: int | None = None, until: int | None = None) -> Stored:
        chunks: list[Chunk] = []
        size = 0
        async for chunk in self._spool.chunks(max(start, await self._spool.oldest()), self._spool.end):
            if size > STORED_BYTES:
                return Stored(stored_in(chunks, start, since, until), chunk.first)
            chunks.append(chunk)
            size += chunk.size
        return Stored(stored_in(chunks, start, since, until))

    async def verify(self) -> Verification:
        held = list(self._spool.held)
        for ledger in held:
            await self._spool.counted(ledger)
        chunks = messages = 0
        pending: Counter[str] = Counter()
        async for chunk in self._spool.chunks(await self._spool.oldest(), self._spool.end):
            chunks += 1
            messages += len(chunk.messages)
            for ledger in held:
                ranges = ledger.position.intersect(chunk.first, chunk.first + len(chunk.messages))
                pending[ledger.name] += len(self._spool.held.pending_in(ledger, chunk, ranges))
        letters, _ = await self._letters.counts()
        problems = [line for ledger in held for line in ledger.imbalance(pending[ledger.name], letters.get(ledger.name, 0))]
        problems += await self._of_others({ledger.name for ledger in held})
        damaged = self._spool.damaged
        problems += [f"chunk {number}: {reason}" for number, reason in sorted(damaged.items())]
        return Verification(chunks, messages, len(damaged), tuple(problems))

    async def _of_others(self, held: set[str]) -> list[str]:
        records = await self._spool.shard_records()
        return [
            f"sink {name}: {ledger.difference_told}" for name, ledger in records.items() if name not in held and ledger.difference
        ]


class LetterAccounts:
    """Compares the dead letters with the ledgers held here: those that were purged elsewhere, or made room, count as dropped.

    Args:
        spool: open.
        letters: of all sinks.
        most: bytes that they may have.
    """

    def __init__(self, spool: JetStreamSpool, letters: Letters, most: int) -> None:
        self._spool = spool
        self._letters = letters
        self._most = most
        self._since: dict[str, tuple[int, float]] = {}
        self.count = 0
        """Number of dead letters of all sinks."""
        self.bytes = 0

    async def run(self) -> None:
        """Compare until cancelled."""
        while True:
            try:
                await self.look()
            except (Unavailable, SpoolError) as error:
                log.debug("dead letters cannot be counted, trying again", reason=str(error))
            await asyncio.sleep(_PAUSE)
            try:
                async with asyncio.timeout(_EVERY):
                    await self._letters.changed.wait()
            except TimeoutError:
                pass
            self._letters.changed.clear()

    async def look(self) -> None:
        """Compare once; a difference that has lasted is corrected.

        Raises:
            Unavailable: nothing answers.
        """
        counts, self.bytes = await self._letters.counts()
        self.count = sum(counts.values())
        now, before = time.monotonic(), self._since
        self._since = {}
        for ledger in self._spool.held:
            missing = ledger.dead_lettered - counts.get(ledger.name, 0)
            if not missing:
                continue
            difference, since = before.get(ledger.name, (0, now))
            if difference != missing:
                since = now
            self._since[ledger.name] = (missing, since)
            if now - since >= _SETTLED:
                self._correct(ledger, missing)

    def _correct(self, ledger: SinkLedger, missing: int) -> None:
        if missing > 0:
            reason = "dead_letters_full" if self.bytes > self._most * _FULL else "purged"
            log.warning("dead letters are gone, and count as dropped", sink=ledger.name, letters=missing, reason=reason)
            move_to_dropped(ledger, missing)
            self._spool.held.drops.count(sink_of(ledger.name), Counter({"": missing}), reason)
        elif not ledger.pending:
            # stored before a crash, and delivered by the next attempt
            ledger.dead_lettered -= missing
            ledger.matched -= missing
            ledger.changed = True
        self._spool.touch()


def move_to_dropped(ledger: SinkLedger, letters: int) -> None:
    """Count dead letters that are gone as dropped."""
    ledger.dead_lettered -= letters
    ledger.dropped += letters
    ledger.changed = True
