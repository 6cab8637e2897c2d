"""Routers that share a spool on JetStream, opened by the entry point; run as a program, one that can be stopped by a signal.

`python -m support.nats.sharing CONFIG`: attaches the sink `cloud`, takes messages, prints each payload, settles it after a line on
standard input, and prints its ledger when asked with the line `ledger`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgerouter import plugins
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.spool.contract import Reader
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.cluster import NatsServer
from support.spools import route, take_some


def settings(server: NatsServer, folder: Path, router: str, **more: Any) -> dict[str, Any]:
    """Return the section `spool` of a router."""
    return {
        "servers": [server.url],
        "monitor": [f"http://127.0.0.1:{server.monitor_port}"],
        "router": router,
        "path": str(folder / router),
        "commit_interval": 0,
        "max_bytes": "8MiB",
        "lease": 1,
        **more,
    }


@asynccontextmanager
async def shared(section: Mapping[str, Any]) -> AsyncIterator[JetStreamSpool]:
    """Open the spool as the router that the section names."""
    config = JetStreamSpoolConfig.model_validate(section)
    async with plugins.open_spool(config, "box") as spool:
        assert isinstance(spool, JetStreamSpool)
        yield spool


class Drainer:
    """Takes what comes, notes it, and settles it at once.

    Args:
        reader: of the sink.
        name: of the router.
        seen: gets the router and the message, in the order of delivery.
    """

    def __init__(self, reader: Reader, name: str, seen: list[tuple[str, Message]]) -> None:
        self._reader = reader
        self._name = name
        self._seen = seen

    async def run(self) -> None:
        """Drain until cancelled."""
        while True:
            messages = await take_some(self._reader, 20)
            # noted and settled without a pause: one that is cancelled in between would count a message that comes again
            self._seen += [(self._name, message) for message in messages]
            self._reader.delivered(messages)
            await asyncio.sleep(0)


async def _main(section: Mapping[str, Any]) -> None:
    loop = asyncio.get_running_loop()
    async with shared(section) as spool:
        reader = await spool.attach(route("cloud"))
        messages = await take_some(reader, 1000)
        print(json.dumps([message.payload.decode() for message in messages]), flush=True)
        await loop.run_in_executor(None, sys.stdin.readline)
        # a process that was stopped in the middle of a write goes on here
        reader.delivered(messages)
        try:
            await spool.flush()
        except SpoolError as error:
            print(f"refused: {error}", file=sys.stderr, flush=True)
        await asyncio.sleep(0.5)
        print(json.dumps([message.payload.decode() for message in reader.take(1000)]), flush=True)


if __name__ == "__main__":
    asyncio.run(_main(json.loads(sys.argv[1])))
