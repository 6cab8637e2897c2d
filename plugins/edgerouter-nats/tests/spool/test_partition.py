"""A network that swallows everything, and a server that permits little: nothing is acknowledged, and the error names the cure.

Covers: edgerouter_nats.spool.link.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import aiohttp
import pytest

from edgerouter import Unauthorized
from edgerouter_nats.connection import connecting
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.link import Link
from support.chaos import chaos
from support.mosquitto import free_port
from support.nats.cluster import NatsServer
from support.nats.sharing import settings, shared
from support.process_meter import usage
from support.receiving import written
from support.router import router
from support.spools import Pipe, fresh, ledger, route, take

BODY = b"x" * 50_000
STREAM = "ROOM"
PERMITTED = [
    f"{STREAM}.>",
    f"$KV.{STREAM}_STATE.>",
    *(
        f"$JS.API.{what}.{stream}"
        for what in ("STREAM.INFO", "STREAM.CREATE", "STREAM.UPDATE", "STREAM.PURGE", "STREAM.MSG.GET", "DIRECT.GET")
        for stream in (STREAM, f"KV_{STREAM}_STATE", f"{STREAM}_DEAD")
    ),
    f"$JS.API.STREAM.MSG.DELETE.{STREAM}_DEAD",
]
"""Subjects that docs/reference/nats.md has a user publish to."""


async def test_in_a_black_hole_intake_stops_acknowledging_within_its_memory_and_nothing_else(
    nats: NatsServer, tmp_path: Path
) -> None:
    """Requests wait or are refused; the sink's pending messages stay; afterwards everything acknowledged is delivered."""
    port = free_port()
    async with chaos(nats.port) as network, aiohttp.ClientSession() as client:
        section = settings(nats, tmp_path, "one", stream="HOLE", lease=5)
        config = {
            "sources": {
                "web": {
                    "type": "http", "listen": f"127.0.0.1:{port}", "max_unacknowledged_bytes": "1MiB", "max_body_bytes": "512KiB",
                    "answer_timeout": "3s",
                }
            },
            "sinks": {"archive": {"type": "file", "path": str(tmp_path / "archive")}},
            "spool": {"type": "jetstream", **section, "servers": [f"nats://127.0.0.1:{network.port}"], "connect_timeout": "1s"},
        }  # fmt: skip

        async def post(number: int) -> int:
            url = f"http://127.0.0.1:{port}/topics/t%2F{number}"
            async with client.post(url, data=b"%d " % number + BODY) as answer:
                return answer.status

        async with router(tmp_path, config) as process:
            await process.start()
            assert await post(0) == 202
            network.black_hole()
            before = usage(process.pid).rss_bytes
            answers = await asyncio.gather(*(post(number) for number in range(1, 60)))
            assert set(answers) == {503}
            assert usage(process.pid).rss_bytes - before < 48 * 1024**2
            status = await process.status()
            assert status["spool"]["state"] == "failing"
            assert status["event_loop"]["longest_pause_seconds"] < 2
            network.heal()
            await process.until(lambda status: status["spool"]["state"] == "ok")
            assert await post(200) == 202
            await process.until_delivered()
            assert not (await process.status())["sinks"]["archive"]["ledger_error"]
    numbers = {int(each.payload.split()[0]) for each in written(tmp_path / "archive")}
    assert {0, 200} <= numbers


@pytest.fixture
def strict(tmp_path: Path) -> NatsServer:
    """A server whose user may do what the spool needs, and gets answers below one prefix."""
    publish = ", ".join(f'"{subject}"' for subject in PERMITTED)
    permissions = f'permissions: {{ publish: [{publish}], subscribe: ["_BOX.one.>", "{STREAM}.appended"] }}'
    return NatsServer(tmp_path / "nats", [f"authorization: {{ users: [{{ user: box, password: secret, {permissions} }}] }}"])


async def test_a_spool_works_with_the_permissions_that_its_page_names(strict: NatsServer, tmp_path: Path) -> None:
    login = {"username": "box", "password": "secret", "inbox_prefix": "_BOX.one", "stream": STREAM}
    with strict as server:
        async with shared(settings(server, tmp_path, "one", **login)) as spool:
            pipe = Pipe(spool)
            (reader,) = await pipe.attach(route("cloud"))
            await pipe.append(fresh(3))
            reader.delivered(await take(reader, 3))
            await spool.flush()
            assert await spool.engine.trimming.trim()
            assert spool.ledgers == {"cloud": ledger(3, 3)}
            assert (await spool.tools.verify()).problems == ()


async def test_a_refused_permission_is_named_at_once(strict: NatsServer) -> None:
    with strict as server:
        login = {"servers": [server.url], "username": "box", "password": "secret"}
        async with connecting(NatsSettings.model_validate(login), "test") as connector:
            with pytest.raises(Unauthorized, match=r"Subscription to .*_INBOX\..*: permit it, or set `inbox_prefix`"):
                await Api(Link(connector)).state(STREAM)
        async with connecting(NatsSettings.model_validate(login | {"inbox_prefix": "_BOX.one"}), "test") as connector:
            with pytest.raises(Unauthorized, match=r"Publish to .*STREAM\.INFO\.OTHER"):
                await Api(Link(connector)).state("OTHER")
