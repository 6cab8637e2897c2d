"""Operations on a durable spool: dead letters, replay, verify."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

import msgspec

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.log.chunk import Chunk, Damaged, Header
from edgerouter.spool.log.grouping import Append, payload_bytes
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.replay import replay, replayable, stored_in
from edgerouter.spool.operator import STORED_BYTES, DeadLetter, DeadLetterFilter, Stored, Verification
from edgerouter.spool.sqlite.committer import Committer
from edgerouter.spool.sqlite.counting import Counting
from edgerouter.spool.sqlite.db import dead_letter_rows
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.salvaging import Salvaging
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread
from edgerouter.topics import Matcher

_STEP: Final = 500


class _Scan(msgspec.Struct):
    """A part of the spool as it was read."""

    chunks: list[Chunk] = msgspec.field(default_factory=list)
    damaged: list[Header] = msgspec.field(default_factory=list)
    next: int = 0
    """Sequence at which to continue; 0 = at the end."""


class SqliteTools:
    """Works in steps, so that the router can commit in between."""

    def __init__(
        self,
        *,
        store: Store,
        thread: DatabaseThread,
        ledgers: Ledgers,
        committer: Committer,
        salvaging: Salvaging,
        counting: Counting,
    ) -> None:
        self._store = store
        self._thread = thread
        self._ledgers = ledgers
        self._committer = committer
        self._dead_letters = committer.dead_letters
        self._salvaging = salvaging
        self._counting = counting

    async def dead_letters(self, which: DeadLetterFilter, *, limit: int = 100, after: int = 0) -> list[DeadLetter]:
        return await self._salvaging.read(partial(self._store.read, dead_letter_rows.find, which, limit, after))

    async def count_dead_letters(self, which: DeadLetterFilter) -> int:
        return len(await self._salvaging.read(partial(self._store.read, dead_letter_rows.places, which)))

    async def replay_dead_letters(self, which: DeadLetterFilter) -> int:
        found = await self._salvaging.read(partial(self._store.read, dead_letter_rows.places, which))
        places = self._dead_letters.leave(place for place in found if place[1] in self._ledgers)
        replayed = 0
        try:
            for sink in sorted({place[1] for place in places}):
                mine = [place for place in places if place[1] == sink]
                for at in range(0, len(mine), _STEP):
                    step = mine[at : at + _STEP]
                    numbers = DeadLetterFilter(numbers=tuple(place[0] for place in step))
                    letters = await self._salvaging.read(partial(self._store.read, dead_letter_rows.find, numbers, len(step), 0))
                    if sink not in self._ledgers:
                        break  # forgotten meanwhile
                    known = {letter.number for letter in letters}
                    places_of = [place for place in step if place[0] in known]
                    await self._append(self._ledgers[sink], [letter.message for letter in letters], places_of)
                    replayed += len(letters)
        finally:
            self._dead_letters.stay(places)
        return replayed

    async def _append(self, ledger: SinkLedger, messages: list[Message], places: Sequence[dead_letter_rows.Place]) -> None:
        stored = asyncio.get_running_loop().create_future()
        await self._committer.append(
            Append(
                source="",
                delivery=Delivery(messages, lambda: None),
                wanted={ledger.key: len(messages)},
                size=payload_bytes(messages),
                routing=self._ledgers.routing,
                stored=stored,
                only=ledger.key,
                dead_letters=places,
            )
        )

    async def purge_dead_letters(self, which: DeadLetterFilter) -> int:
        places = self._dead_letters.leave(await self._salvaging.read(partial(self._store.read, dead_letter_rows.places, which)))
        self._dead_letters.throw_away(places, "purged")
        await self._committer.flush()
        return len(places)

    async def replay(
        self, sink: str, *, topic: str = "#", since: int | None = None, until: int | None = None, dry_run: bool = False
    ) -> int:
        ledger = self._ledgers[sink]
        asked = Matcher([topic])
        found = 0
        at = 1
        await self._salvaging.finished()
        # what is found must still be there when it becomes pending
        await self._thread.run(partial(self._store.hold, True))
        try:
            while at:
                scan = await self._salvaging.read(partial(_scan, self._store, at, self._committer.usage.end, since, until))
                for chunk in scan.chunks:
                    replayed = replayable(self._ledgers, ledger, chunk, asked, since=since, until=until)
                    found += len(replayed)
                    if replayed and not dry_run:
                        replay(self._ledgers, ledger, chunk, replayed)
                        self._committer.writes.reuse(chunk.first)
                at = scan.next
            if not dry_run:
                await self._committer.flush()
        finally:
            await self._thread.run(partial(self._store.hold, False))
            self._committer.touch()
        return found

    async def stored(self, start: int, *, since: int | None = None, until: int | None = None) -> Stored:
        scan = await self._salvaging.read(partial(_scan, self._store, start, self._committer.usage.end, since, until))
        return Stored(stored_in(scan.chunks, start, since, until), scan.next)

    async def verify(self) -> Verification:
        try:
            return await self._verify()
        except DAMAGE as error:
            self._salvaging.recover(error)
            found = await self._verify()
            mended = f"the database was damaged, and what is readable of it is kept: {error}"
            return msgspec.structs.replace(found, problems=(mended, *found.problems))

    async def _verify(self) -> Verification:
        await self._salvaging.finished()
        for ledger in self._ledgers:
            await self._counting.begin(ledger, whole=True)
        chunks = messages = damaged = 0
        problems: list[str] = []
        await self._committer.flush()
        end = self._committer.usage.end
        before = {ledger.name: (ledger.numbers, ledger.position.copy()) for ledger in self._ledgers}
        pending = dict.fromkeys(before, 0)
        held = at = 1
        while at:
            scan = await self._thread.run(partial(_scan, self._store, at, end, None, None))
            for chunk in scan.chunks:
                chunks += 1
                messages += len(chunk.messages)
                problems += _faults(chunk, held)
                held = chunk.end
                for ledger in self._ledgers:
                    if ledger.name in pending:
                        ranges = ledger.position.intersect(chunk.first, chunk.end)
                        pending[ledger.name] += len(self._ledgers.pending_in(ledger, chunk, ranges))
            for header in scan.damaged:
                damaged += 1
                problems.append(f"chunk {header.first}: the checksum is wrong, {header.messages} messages cannot be read")
            at = scan.next
        letters, _ = await self._thread.run(partial(self._store.read, dead_letter_rows.usage))
        for ledger in self._ledgers:
            # the ledger of a sink that is at work changes while we read
            if before.get(ledger.name) == (ledger.numbers, ledger.position):
                problems += ledger.imbalance(pending[ledger.name], letters[ledger.name])
        return Verification(chunks, messages, damaged, tuple(problems))


def _scan(store: Store, at: int, end: int, since: int | None, until: int | None) -> _Scan:
    """Read some chunks from a sequence on, those out of the time range by their headers only."""
    scan = _Scan()
    size = 0
    for header in store.rows.headers(at, end, _STEP):
        above = header.first + max(1, header.messages)
        scan.next = max(at, above)
        if above <= at:
            continue
        if (since is not None and header.received + header.span < since) or (until is not None and header.received >= until):
            continue
        try:
            scan.chunks.append(store.codec.open(header, store.rows.payload(header)))
        except Damaged:
            scan.damaged.append(header)
        size += header.raw
        if size > STORED_BYTES:
            break
    if scan.next <= at or scan.next >= end:
        scan.next = 0
    return scan


def _faults(chunk: Chunk, held: int) -> list[str]:
    faults = []
    if chunk.first < held:
        faults.append(f"chunk {chunk.first}: overlaps the one before it")
    if any(message.sequence != sequence for sequence, message in enumerate(chunk.messages, chunk.first)):
        faults.append(f"chunk {chunk.first}: its messages are not numbered in order")
    return faults
