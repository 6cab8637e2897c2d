"""Receipts are kept until the sender is known to have read the acknowledgement, and no longer."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from edgerouter import Confirmation, Delivery, Message
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Spool
from support.spools import Pipe, crashing, fresh, route, sqlite, take


async def append(spool: Spool, messages: Sequence[Message], receipt: bytes, source: str = "source") -> Confirmation:
    confirmation = Confirmation()
    await spool.append(source, Delivery(messages, lambda: None, receipt, confirmation), {"sink": len(messages)})
    return confirmation


async def test_a_receipt_outlives_commits_and_the_settling_of_its_messages_until_it_is_confirmed(tmp_path: Path) -> None:
    async with crashing(tmp_path) as (spool, crashed):
        (reader,) = await Pipe(spool).attach(route("sink"))
        confirmed = await append(spool, fresh(3), b"one")
        await append(spool, fresh(2), b"two")
        reader.delivered(await take(reader, 5))
        confirmed.confirm()
        await append(spool, fresh(1), b"three")
        await spool.flush()
        crashed()
    async with open_spool(sqlite(tmp_path)) as spool:
        found = spool.unacknowledged("source")
        assert [each.receipt for each in found] == [b"two", b"three"]
        assert [message.sequence for each in found for message in each.messages] == [4, 5, 6]


async def test_what_is_kept_for_its_receipt_alone_goes_once_it_is_confirmed(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        confirmed = await append(spool, fresh(3), b"one")
        reader.delivered(await take(reader, 3))
        await spool.flush()
        assert spool.status.messages == 3
        confirmed.confirm()
        async with asyncio.timeout(10):
            while spool.status.messages:
                await asyncio.sleep(0.01)


async def test_a_source_that_is_not_connected_keeps_nothing_of_another(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path)) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        await append(spool, fresh(1), b"away", "other")
        for _ in range(20):
            (await append(spool, fresh(10), b"here")).confirm()
        reader.delivered(await take(reader, 201))
        await append(spool, fresh(1), b"here")
        await spool.flush()
        assert spool.status.messages <= 12


async def test_a_full_spool_gives_up_receipts_rather_than_wait(tmp_path: Path) -> None:
    async with open_spool(sqlite(tmp_path, max_bytes="1MiB")) as spool:
        (reader,) = await Pipe(spool).attach(route("sink"))
        async with asyncio.timeout(30):
            for _ in range(30):
                await append(spool, fresh(1, payload=lambda _: bytes(100_000)), b"never confirmed")
                reader.delivered(await take(reader, 1))
