"""Spools that are damaged on purpose, and what can still be had from them."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import apsw

from edgerouter.spool import open_spool
from edgerouter.spool.contract import Rejection
from support.spools import Pipe, fresh, route, sequences, sqlite, take, take_some

COUNT = 3000


async def fill(path: Path, chunk: int = 50, count: int = COUNT) -> None:
    """A backlog for two sinks, a few dead letters, and nothing else."""
    async with open_spool(sqlite(path)) as spool:
        pipe = Pipe(spool)
        every, _ = await pipe.attach(route("every"), route("some", "a/#"))
        for n in range(count // chunk):
            await pipe.append(fresh(chunk, topic=f"{'ab'[n % 2]}/{n}", payload=lambda n: os.urandom(100)))
        letters = await take(every, 10)
        await every.dead_letter([Rejection(m, "bad", "Rejected", 1, 0) for m in letters])


async def drain(reader: Any, spool: Any) -> list[int]:
    """Everything that can still be had."""
    got: list[int] = []
    async with asyncio.timeout(20):
        while reader.ledger.pending or reader.sink_ledger.uncounted or spool._salvaging.active:
            try:
                async with asyncio.timeout(0.2):
                    messages = await take_some(reader, 500)
            except TimeoutError:
                continue
            got += sequences(messages)
            reader.delivered(messages)
    return got


def flip(file: Path, offset: int) -> None:
    with file.open("r+b") as opened:
        opened.seek(offset)
        byte = opened.read(1)[0]
        opened.seek(offset)
        opened.write(bytes([byte ^ 0x10]))


def payload_offset(file: Path, first: int) -> int:
    """Return the place in the file of a chunk's payload."""
    with apsw.Connection(str(file)) as connection:
        payload = connection.execute("SELECT payload FROM chunks WHERE first = ?", (first,)).get
    connection.close()
    return file.read_bytes().index(payload[-1000:]) + 500


async def assert_goes_on(path: Path, least: int) -> None:
    """The spool starts, gives out most of what it had, balances its accounts, and takes new messages."""
    started = time.monotonic()
    async with open_spool(sqlite(path)) as spool:
        assert time.monotonic() - started < 5
        pipe = Pipe(spool)
        every, some = await pipe.attach(route("every", start="oldest"), route("some", "a/#", start="oldest"))
        got = await drain(every, spool)
        assert len(got) == len(set(got)) >= least
        await drain(some, spool)
        for reader in (every, some):
            assert reader.ledger.pending == 0
            assert min(reader.ledger.delivered, reader.ledger.dropped, reader.ledger.dead_lettered) >= 0
        last = spool.status.last_sequence
        await pipe.append(fresh(3))
        assert sequences(await take(every, 3)) == [last + 1, last + 2, last + 3]
        await spool.flush()
    async with open_spool(sqlite(path)) as spool:
        (every,) = await Pipe(spool).attach(route("every"))
        assert sequences(await take(every, 3)) == [last + 1, last + 2, last + 3]


async def identity_of(path: Path) -> str:
    async with open_spool(sqlite(path)) as spool:
        return spool.id


async def appended_id(path: Path) -> str:
    """The id of a message that is appended after a start."""
    async with open_spool(sqlite(path)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("after"))
        await pipe.append(fresh(1))
        return (await take(reader, 1))[0].id
