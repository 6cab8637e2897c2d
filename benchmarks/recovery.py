"""Time until a spool on JetStream works again after a part of it was killed: a node of three, or the router that drains a sink.

Part of `make bench-jetstream`.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsCluster, NatsServer
from support.nats.sharing import settings, shared
from support.nats.spools import opened
from support.spools import Pipe, fresh, route, take_some

_STREAM = "RECOVERY"
_CATCH_UP = 3.0
"""Seconds for a node to catch up before the next one is killed."""
_KILLS = 5
_LEASES = (2, 10)
_TESTS = Path(__file__).parents[1] / "tests"


async def measure(folder: Path) -> None:
    """Kill nodes and routers, and print the times."""
    with NatsCluster(folder / "cluster", jetstream=["sync_interval: always"]) as cluster:
        async with opened(cluster.urls, _STREAM, replicas=3) as spool:
            pauses = [await _without_node(cluster, spool) for _ in range(_KILLS)]
        print(f"leader of the stream killed, R3: nothing is acknowledged for {_range(pauses)}")
    with NatsServer(folder / "single") as server:
        for lease in _LEASES:
            pauses = [await _without_router(server, folder / f"{lease}-{number}", lease) for number in range(_KILLS)]
            print(f"router killed, lease {lease} s: the other router delivers after {_range(pauses)}")


def _range(pauses: list[float]) -> str:
    return f"{min(pauses):.1f} to {max(pauses):.1f} s, {sorted(pauses)[len(pauses) // 2]:.1f} s in the middle ({len(pauses)} kills)"


async def _without_node(cluster: NatsCluster, spool: JetStreamSpool) -> float:
    """Kill the node that leads the stream, and return the time until the next delivery is acknowledged."""
    await _append(spool)
    info = await spool.engine.api.request(f"STREAM.INFO.{_STREAM}", None)
    leader = next(node for node in cluster.nodes if node.name == info["cluster"]["leader"])
    before = time.monotonic()
    leader.kill()
    await _append(spool)
    took = time.monotonic() - before
    leader.start()
    await asyncio.to_thread(cluster.wait_for_leader)
    await asyncio.sleep(_CATCH_UP)
    return took


async def _append(spool: JetStreamSpool) -> None:
    messages = [Message("a", b"x" * 200, time.time_ns(), 1) for _ in range(50)]
    await spool.append("source", Delivery(messages, lambda: None), {})


async def _without_router(server: NatsServer, folder: Path, lease: int) -> float:
    """Kill the process that drains the sink, and return the time until another has its messages."""
    sections: list[dict[str, Any]] = [
        settings(server, folder, name, stream=f"LEASE-{folder.name}", lease=lease) for name in ("first", "second")
    ]
    command = [sys.executable, "-m", "support.nats.sharing", json.dumps(sections[0])]
    pipe = asyncio.subprocess.PIPE
    holder = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=_TESTS)
    assert holder.stdout is not None
    try:
        async with shared(sections[1]) as spool:
            while "cloud" not in await spool.shard_records():  # noqa: ASYNC110  (another process writes them)
                await asyncio.sleep(0.05)
            appending = Pipe(spool, route("cloud"))
            await appending.append(fresh(10))
            assert len(msgspec.json.decode(await holder.stdout.readline())) == 10
            attaching = asyncio.create_task(spool.attach(route("cloud")), name="attach")
            await asyncio.sleep(1)
            before = time.monotonic()
            holder.kill()
            await take_some(await attaching)
            return time.monotonic() - before
    finally:
        if holder.returncode is None:
            holder.kill()
        await holder.wait()
