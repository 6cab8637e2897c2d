"""The durable spool when the power is cut: what was not synchronised is lost, torn at sectors, or on disk in another order.

Covers: edgerouter.spool.sqlite.recovery.wal, edgerouter.spool.sqlite.spool.
"""

from __future__ import annotations

import asyncio
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from edgerouter.message import Message
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Reader, Rejection
from edgerouter.spool.operator import DeadLetterFilter
from edgerouter.spool.sqlite import database, high_water
from edgerouter.spool.sqlite.db import compaction
from edgerouter.spool.sqlite.high_water import FILE as MARK
from edgerouter.spool.sqlite.high_water import HighWaterMark
from support.power_cut import Disk
from support.spools import Pipe, files, fresh, restore, route, sqlite, take

CUTS = int(os.environ.get("EDGEROUTER_TEST_POWER_CUTS", "60"))
SINKS = {"every": ("#",), "some": ("a/#",)}


@dataclass(slots=True, frozen=True)
class Began:
    """A call that changes what becomes of messages was made."""

    what: str
    sink: str
    sequences: frozenset[int]


@dataclass(slots=True, frozen=True)
class Safe:
    """A call returned, and with that promised that it is on disk."""

    what: str
    sink: str
    sequences: frozenset[int]


@dataclass(slots=True, frozen=True)
class Stored:
    """These messages were acknowledged."""

    messages: Sequence[tuple[int, str, bytes]]
    identity: str


@dataclass(slots=True, frozen=True)
class Marked:
    """The mark was written."""

    content: bytes


@dataclass(slots=True)
class Known:
    """Expectations of a test after a cut."""

    stored: dict[int, tuple[str, bytes]] = field(default_factory=dict)
    ids: set[str] = field(default_factory=set)
    may_be_settled: dict[str, set[int]] = field(default_factory=lambda: {sink: set() for sink in SINKS})
    settled: dict[str, set[int]] = field(default_factory=lambda: {sink: set() for sink in SINKS})
    letters: dict[str, set[int]] = field(default_factory=lambda: {sink: set() for sink in SINKS})
    batches: dict[str, list[frozenset[int]]] = field(default_factory=lambda: {sink: [] for sink in SINKS})

    marks: list[bytes] = field(default_factory=list)

    def learn(self, entry: Any) -> None:
        """Take notice of an entry of the log."""
        match entry:
            case Stored(messages, identity):
                self.stored |= {sequence: (topic, payload) for sequence, topic, payload in messages}
                self.ids |= {f"{identity}-{sequence}" for sequence, _, _ in messages}
            case Began("batch", sink, sequences):
                # a message is in the batch that was kept last
                self.batches[sink] = [batch for batch in self.batches[sink] if not batch & sequences]
            case Began(_, sink, sequences):
                self.may_be_settled[sink] |= sequences
            case Safe("settled", sink, sequences):
                self.settled[sink] |= sequences
            case Safe("letters", sink, sequences):
                self.letters[sink] |= sequences
                self.settled[sink] |= sequences
            case Safe("batch", sink, sequences):
                self.batches[sink].append(sequences)
            case Marked(content):
                self.marks.append(content)

    def hold(
        self,
        sink: str,
        wants: Callable[[str], bool],
        pending: dict[int, tuple[str, bytes]],
        letters: set[int],
        kept: list[frozenset[int]],
    ) -> None:
        """A sink finds after the cut everything that was promised before it."""
        wanted = {sequence for sequence, (topic, _) in self.stored.items() if wants(topic)}
        missing = wanted - pending.keys() - letters - self.may_be_settled[sink]
        assert not missing, f"{sink}: {sorted(missing)} were acknowledged"
        assert self.letters[sink] <= letters
        assert not self.settled[sink] & pending.keys(), "what was said to be on disk is"
        assert all(pending[sequence] == self.stored[sequence] for sequence in pending.keys() & wanted)
        for batch in self.batches[sink]:
            left = (batch & pending.keys()) - self.may_be_settled[sink]
            assert not left or any(left <= each for each in kept), "a batch that was kept is forgotten"


class Work:
    """Random work on a spool, with notes of all that was begun and promised."""

    def __init__(self, disk: Disk, spool: Any, chance: random.Random) -> None:
        self.disk = disk
        self.spool = spool
        self.chance = chance
        self.pipe = Pipe(spool)
        self.taken: dict[str, list[Message]] = {sink: [] for sink in SINKS}
        self.settled: dict[str, set[int]] = {sink: set() for sink in SINKS}
        self.readers: dict[str, Reader] = {}

    async def do(self, steps: int) -> None:
        """So many random steps."""
        for sink, filters in SINKS.items():
            (self.readers[sink],) = await self.pipe.attach(route(sink, *filters))
        for _ in range(steps):
            sink = self.chance.choice(sorted(SINKS))
            step = self.chance.choice([self.append] * 5 + [self.deliver] * 4 + [self.flush, self.dead_letter, self.keep])
            await step(sink)

    async def append(self, _: str) -> None:
        chance, before = self.chance, self.spool.status.last_sequence
        groups = []
        for _group in range(chance.randrange(1, 4)):
            count, topic, size = chance.choice([1, 1, 3, 30]), chance.choice(["a/1", "b"]), chance.choice([10, 10, 300, 3000, 9000])
            groups.append([Message(topic, chance.randbytes(size), 1, 1) for _ in range(count)])
        await asyncio.gather(*(self.pipe.append(group) for group in groups))
        numbered = enumerate([m for group in groups for m in group], before + 1)
        self.disk.note(Stored([(sequence, m.topic, m.payload) for sequence, m in numbered], self.spool.id))

    def some(self, sink: str) -> list[Message]:
        self.taken[sink] += self.readers[sink].take(self.chance.randrange(1, 60))
        count = self.chance.randrange(len(self.taken[sink]) + 1)
        some, self.taken[sink] = self.taken[sink][:count], self.taken[sink][count:]
        return some

    async def deliver(self, sink: str) -> None:
        messages = self.some(sink)
        self.settled[sink] |= {m.sequence for m in messages}
        self.disk.note(Began("delivered", sink, frozenset(m.sequence for m in messages)))
        self.readers[sink].delivered(messages)
        await asyncio.sleep(0)

    async def flush(self, _: str) -> None:
        settled = {sink: frozenset(sequences) for sink, sequences in self.settled.items()}
        await self.spool.flush()
        for sink, sequences in settled.items():
            self.disk.note(Safe("settled", sink, sequences))

    async def dead_letter(self, sink: str) -> None:
        messages = self.some(sink)
        sequences = frozenset(m.sequence for m in messages)
        self.disk.note(Began("letters", sink, sequences))
        await self.readers[sink].dead_letter([Rejection(m, "bad", "Rejected", 1, 0) for m in messages])
        self.disk.note(Safe("letters", sink, sequences))

    async def keep(self, sink: str) -> None:
        messages = self.some(sink)
        if messages:
            sequences = frozenset(m.sequence for m in messages)
            self.disk.note(Began("batch", sink, sequences))
            await self.readers[sink].keep_batch(messages)
            self.disk.note(Safe("batch", sink, sequences))
            self.taken[sink] = messages + self.taken[sink]


async def check(path: Path, known: Known, *, lossy: bool) -> None:
    """Everything that was promised before the cut is there after it.

    Args:
        path: the folder after the cut.
        known: what is known of it.
        lossy: nothing was promised but that it goes on, and that no id is used twice.
    """
    started = time.monotonic()
    async with open_spool(sqlite(path)) as spool:
        assert time.monotonic() - started < 5
        assert not any("damaged" in name for name in files(path)), "a power cut is not damage"
        pipe = Pipe(spool)
        readers = dict(zip(SINKS, await pipe.attach(*(route(sink, *filters) for sink, filters in SINKS.items())), strict=True))
        assert (await spool.tools.verify()).problems == ()
        await pipe.append(fresh(2, topic="a/new"))
        for sink, reader in readers.items():
            batches = await reader.kept_batches()
            reader.give_back([m for batch in batches for m in batch])
            kept = [frozenset(m.sequence for m in batch) for batch in batches]
            got = await take(reader, reader.ledger.pending)
            assert reader.take(1) == []
            assert {m.topic for m in got[-2:]} == {"a/new"}
            assert not {m.id for m in got[-2:]} & known.ids, "an id is used twice"
            if not lossy:
                pending = {m.sequence: (m.topic, m.payload) for m in got}
                letters = await spool.tools.dead_letters(DeadLetterFilter(sink=sink), limit=10_000)
                known.hold(sink, pipe.routes[sink].matches, pending, {letter.message.sequence for letter in letters}, kept)
            reader.delivered(got)
        await spool.flush()
        assert (await spool.tools.verify()).problems == ()
        assert spool.status.messages == 0


async def cut_everywhere(tmp_path: Path, seed: int, cuts: int, synchronous: str = "full") -> None:
    """Work, then look at so many random moments of it what a power cut would have left."""
    chance = random.Random(seed)
    disk = Disk()
    config = sqlite(tmp_path / "spool", cache_bytes=20_000, synchronous=synchronous)
    write = HighWaterMark.write

    def note(self: HighWaterMark, spool: str, sequence: int) -> None:
        write(self, spool, sequence)
        disk.note(Marked((tmp_path / "spool" / MARK).read_bytes()))

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(compaction, "AFTER", 20)
        patch.setattr(database, "wal_pages", lambda _: 32)
        patch.setattr(HighWaterMark, "write", note)
        with disk.recording():
            for _ in range(2):
                async with open_spool(config) as spool:
                    await Work(disk, spool, chance).do(40)
    # the making of the database is over soon
    places = sorted(chance.sample(range(40), cuts // 4) + chance.sample(range(40, len(disk.log) + 1), cuts - cuts // 4))
    known = Known()
    at = 0
    folder = tmp_path / "cut"
    folder.mkdir()
    for place, left in disk.cuts(places, chance):
        for entry in disk.log[at:place]:
            known.learn(entry)
        at = place
        restore(folder, left)
        (folder / MARK).write_bytes(chance.choice([b"", *known.marks[-1:], *known.marks]))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(high_water, "boot_id", lambda: b"another start of the machine")
            try:
                await check(folder, known, lossy=synchronous != "full")
            except BaseException as error:
                error.add_note(f"seed {seed}, cut at {place} of {len(disk.log)}")
                raise


@pytest.mark.parametrize("synchronous", ["full", "normal"])
async def test_a_power_cut_at_any_moment_loses_nothing_that_was_promised(tmp_path: Path, synchronous: str) -> None:
    """Whatever of the unsynchronised writes has come to the disk, sector by sector, in whatever order."""
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    await cut_everywhere(tmp_path, seed, CUTS, synchronous)
