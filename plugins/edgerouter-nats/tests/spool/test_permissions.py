"""A permission that the router's user lacks shows in the status, wherever it is needed, and its grant is the whole cure.

Covers also: edgerouter_nats.spool.trouble.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from support.nats.cluster import NatsServer
from support.nats.sharing import settings, shared
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take


def users(denied: str = "") -> str:
    """Return the line of the server's configuration that lets the router in, without one subject."""
    permissions = f', permissions: {{ publish: {{ deny: ["{denied}"] }} }}' if denied else ""
    return f"authorization {{ users: [ {{user: app, password: app{permissions}}} ] }}"


@pytest.mark.parametrize(
    "denied",
    [
        "$JS.API.STREAM.PURGE.S",
        "$JS.API.DIRECT.GET.KV_S_STATE",
        "$KV.S_STATE.position.>",
        "$KV.S_STATE.member.>",
        "S.chunks.>",
    ],
)
async def test_a_permission_that_is_taken_away_shows_in_the_status_until_it_is_granted(tmp_path: Path, denied: str) -> None:
    server = NatsServer(tmp_path / "nats", [users()])
    with server:
        section = settings(server, tmp_path, "one", stream="S", username="app", password="app")
        async with shared(section) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(fresh(1))
            server.settings = [users(denied)]
            server.reload()
            await until(lambda: "Reloaded server configuration" in server.log)
            waiting = asyncio.create_task(pipe.append(fresh(1)))
            reader.delivered(await take(reader, 1))
            await until(lambda: f'Permissions Violation for Publish to "{denied[:-1]}' in spool.status.reason)
            assert spool.status.state == "failing"
            server.settings = [users()]
            server.reload()
            await waiting
            reader.delivered(await take(reader, 1))
            await until(lambda: spool.status.state == "ok" and spool.ledgers == {"cloud": ledger(2, 2)})


async def test_a_lease_that_may_not_be_taken_is_named(tmp_path: Path) -> None:
    server = NatsServer(tmp_path / "nats", [users("$KV.S_STATE.lease.>")])
    with server:
        section = settings(server, tmp_path, "one", stream="S", username="app", password="app")
        async with shared(section) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(fresh(1))
            await until(lambda: '"$KV.S_STATE.lease.cloud"' in spool.status.reason)
            server.settings = [users()]
            server.reload()
            assert len(await take(reader, 1)) == 1
            await until(lambda: spool.status.state == "ok")
