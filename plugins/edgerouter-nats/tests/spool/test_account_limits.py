"""Others fill the account or the server to the last byte: nothing is acknowledged that is not stored, and room is the whole cure.

Covers also: edgerouter_nats.spool.room, edgerouter_nats.spool.state.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from nats.aio.client import Client
from nats.js.errors import APIError
from structlog.testing import capture_logs

from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.stream import STATE_BYTES
from support.nats.cluster import NatsServer
from support.nats.sharing import settings, shared
from support.pipeline import until
from support.spools import Pipe, fresh, ledger, route, take

ACCOUNT = "accounts: { APP: { jetstream: {max_file: 48MB}, users: [{user: app, password: app}] } }"
LOGIN = {"username": "app", "password": "app"}
LIMITED: list[tuple[list[str], tuple[str, ...], dict[str, str]]] = [
    ([ACCOUNT], ("sync_interval: always",), LOGIN),
    ([], ("sync_interval: always", "max_file: 48MB"), {}),
]


class Others:
    """Another stream of the account, which has no limit.

    Args:
        server: of the account.
        login: of the account's user.
    """

    def __init__(self, server: NatsServer, login: dict[str, str]) -> None:
        self._server = server
        self._login = login
        self._client = Client()

    async def fill(self) -> None:
        """Leave not even room for one byte."""
        user, password = self._login.get("username"), self._login.get("password")
        await self._client.connect(self._server.url, user=user, password=password)
        stream = self._client.jetstream()
        await stream.add_stream(name="OTHERS", subjects=["others"])
        for size in (1_000_000, 30_000, 1000, 30, 0):
            with suppress(APIError):
                while True:
                    await stream.publish("others", bytes(size))

    async def go(self) -> None:
        """Give the room back."""
        await self._client.jetstream().delete_stream("OTHERS")
        await self._client.close()


def section(server: NatsServer, folder: Path, login: dict[str, str]) -> dict[str, Any]:
    """Return the section `spool` of a router with little that is reserved."""
    return settings(server, folder, "one", stream="S", max_bytes="4MiB", dead_letter_bytes="1MiB", **login)


@pytest.mark.parametrize(("lines", "jetstream", "login"), LIMITED, ids=["account", "server"])
async def test_without_room_nothing_is_acknowledged_until_there_is_some(
    tmp_path: Path, lines: list[str], jetstream: tuple[str, ...], login: dict[str, str]
) -> None:
    with NatsServer(tmp_path / "nats", lines, jetstream=jetstream) as server:
        others = Others(server, login)
        async with shared(section(server, tmp_path, login)) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(fresh(1))
            await others.fill()
            waiting = asyncio.create_task(pipe.append(fresh(1)))
            await until(lambda: "the servers have no room: JetStream: " in spool.status.reason)
            assert (spool.status.state, len(pipe.acknowledged)) == ("full", 1)
            await others.go()
            await waiting
            reader.delivered(await take(reader, 2))
            await until(lambda: spool.status.state == "ok" and spool.ledgers == {"cloud": ledger(2, 2)})


@pytest.mark.parametrize(("lines", "jetstream", "login"), LIMITED, ids=["account", "server"])
async def test_a_start_without_room_waits_for_some_and_says_so(
    tmp_path: Path, lines: list[str], jetstream: tuple[str, ...], login: dict[str, str]
) -> None:
    """It must not end: whatever restarts it would give up at some time."""
    with NatsServer(tmp_path / "nats", lines, jetstream=jetstream) as server:
        others = Others(server, login)
        async with shared(section(server, tmp_path, login)) as spool:
            pipe = Pipe(spool)
            await pipe.attach(route("cloud"))
            await pipe.append(fresh(3))
            await spool.flush()
        await others.fill()
        delivered: list[bytes] = []

        async def again() -> None:
            async with shared(section(server, tmp_path, login)) as spool:
                reader = await spool.attach(route("cloud"))
                delivered.extend(message.payload for message in await take(reader, 3))

        with capture_logs() as logs:
            starting = asyncio.create_task(again())
            await until(lambda: any("positions and leases need room" in str(each.get("reason")) for each in logs))
            await others.go()
            await starting
        assert delivered == [b"0", b"1", b"2"]


async def test_room_for_positions_is_reserved_beside_that_of_messages(nats: NatsServer, tmp_path: Path) -> None:
    """A spool that alone has filled its account could settle nothing, and would never be trimmed again."""
    async with shared(settings(nats, tmp_path, "one", stream="RESERVED")) as spool:
        assert (await spool.engine.api.state(Names("RESERVED").state)).max_bytes == STATE_BYTES
