"""A spool of the previous format is taken over with all that waits in it, and a newer one is refused with one line.

`EDGEROUTER_UPGRADE_MESSAGES=1000000` makes it as large as days offline make it, and `EDGEROUTER_UPGRADE_SPOOL` names one that the
previous version itself has written, with as many messages; the figures are printed.

Covers: edgerouter.spool.sqlite.db.schema, edgerouter.spool.sqlite.open.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from pathlib import Path

import apsw
import psutil

from edgerouter.spool import open_spool
from edgerouter.spool.sqlite.journal import FILE as JOURNAL
from support.command import run
from support.spools import Pipe, fresh, route, sequences, sqlite, take

WRITTEN = os.environ.get("EDGEROUTER_UPGRADE_SPOOL")
MESSAGES = int(os.environ.get("EDGEROUTER_UPGRADE_MESSAGES", "20000"))
CHUNK = 500
SETTLED = 1000
MOST_MEGABYTES = 60


async def write_format_1(folder: Path) -> None:
    """Write a spool as the previous version left it: the same tables, and no journal beside them."""
    if WRITTEN is not None:
        shutil.copytree(WRITTEN, folder, dirs_exist_ok=True)
        return
    async with open_spool(sqlite(folder, max_bytes=1 << 40)) as spool:
        pipe = Pipe(spool)
        reader, _ = await pipe.attach(route("first"), route("second", "a/#"))
        for _ in range(0, MESSAGES, CHUNK):
            await pipe.append(fresh(CHUNK, payload=lambda n: b'{"n":%d,"x":"%b"}' % (n, b"x" * 150)))
        reader.delivered(await take(reader, SETTLED))
        await spool.flush()
    set_format(folder, 1)
    (folder / JOURNAL).unlink(missing_ok=True)


def set_format(folder: Path, number: int) -> None:
    connection = apsw.Connection(str(folder / "spool.db"))
    connection.pragma("user_version", number)
    connection.close()


async def test_a_spool_of_the_previous_format_delivers_all_that_waited_in_it(tmp_path: Path) -> None:
    """The start takes no longer and no more memory with a large backlog than with a small one."""
    await write_format_1(tmp_path)
    before, began = psutil.Process().memory_info().rss, time.monotonic()
    async with open_spool(sqlite(tmp_path, max_bytes=1 << 40)) as spool:
        pipe = Pipe(spool)
        first, second = await pipe.attach(route("first"), route("second", "a/#"))
        started = time.monotonic() - began
        assert (first.ledger.pending, second.ledger.pending) == (MESSAGES - SETTLED, MESSAGES)
        assert first.ledger.delivered == SETTLED
        assert (await spool.tools.verify()).problems == ()
        expected = SETTLED + 1
        while first.ledger.pending:
            taken = await take(first, min(10 * CHUNK, first.ledger.pending))
            assert sequences(taken) == list(range(expected, expected + len(taken)))
            expected += len(taken)
            first.delivered(taken)
        assert expected == MESSAGES + 1
        await pipe.append(fresh(1))
        assert sequences(await take(first, 1)) == [MESSAGES + 1]
    grown = (psutil.Process().memory_info().rss - before) / 1e6
    print(
        f"{MESSAGES} messages: opened in {started:.2f} s, drained in {time.monotonic() - began:.1f} s, {grown:.0f} MB more memory"
    )
    assert grown < MOST_MEGABYTES


async def test_a_downgrade_is_refused_with_one_line(tmp_path: Path) -> None:
    folder, file = tmp_path / "spool", tmp_path / "edgerouter.yaml"
    async with open_spool(sqlite(folder)):
        pass
    set_format(folder, 3)
    file.write_text(
        f"sources: {{a: {{type: http, listen: '127.0.0.1:0'}}}}\nspool: {{path: {folder}}}\nsinks: {{b: {{type: stdout}}}}\n"
    )
    refused = await asyncio.to_thread(run, "run", "-c", file)
    assert (refused.returncode, refused.stdout) == (2, "")
    (line,) = refused.stderr.splitlines()
    assert "made by a newer edgerouter (format 3, this one knows 2)" in line
