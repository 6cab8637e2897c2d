"""A process that appends numbered messages to a shared spool and drains a sink of it, to be killed at any time.

It writes each acknowledged delivery and each delivered batch to files at once, so that what it has promised and done is known after
its death. Started again, it continues behind the last acknowledged message, as a broker would have it: what an earlier run has
stored and not acknowledged is recognised by its receipt.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from itertools import cycle
from pathlib import Path
from typing import Any, Final

import msgspec

from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery
from edgerouter.spool.contract import Reader
from edgerouter_nats.spool.spool import JetStreamSpool
from support.nats.sharing import shared
from support.spools import route, take_some

KEYS = 10
_SMALL: Final = 40
"""Deliveries of one chunk, each a fiftieth of a second long, between two of several chunks."""
_LARGE: Final = 2500
"""Messages of a delivery of several chunks."""


class Orders(msgspec.Struct):
    """Arguments of the process."""

    spool: dict[str, Any]
    """The section `spool` of the router."""
    folder: str
    messages: int
    """To append over all runs."""
    rate: int
    """Messages a second."""

    @property
    def router(self) -> str:
        """Name of the router."""
        return str(self.spool["router"])


def acknowledged_to(folder: Path, router: str) -> int:
    """Return one above the last message that an earlier run was acknowledged."""
    file = folder / f"{router}.acknowledged"
    lines = file.read_text().split() if file.exists() else []
    return int(lines[-1]) if lines else 0


async def produce(spool: JetStreamSpool, orders: Orders) -> None:
    """Append what is left, at the rate."""
    folder = Path(orders.folder)
    log = os.open(folder / f"{orders.router}.acknowledged", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    at = acknowledged_to(folder, orders.router)
    for earlier in spool.unacknowledged("numbers"):
        end = int(earlier.receipt)
        if end > at:
            at = end
            os.write(log, f"{end}\n".encode())
    confirmations: list[Confirmation] = []
    loop = asyncio.get_running_loop()
    due = loop.time()
    sizes = cycle([max(1, orders.rate // 50)] * _SMALL + [_LARGE])
    while at < orders.messages:
        end = min(orders.messages, at + next(sizes))
        messages = [Message(f"{orders.router}/{n % KEYS}", b"%d" % n, n + 1, 1) for n in range(at, end)]
        confirmation = Confirmation()

        def acknowledge(end: int = end) -> None:
            os.write(log, f"{end}\n".encode())

        await spool.append("numbers", Delivery(messages, acknowledge, b"%d" % end, confirmation), {"cloud": len(messages)})
        # the sender has read it once the next delivery comes
        for each in confirmations:
            each.confirm()
        confirmations = [confirmation]
        due += (end - at) / orders.rate
        at = end
        await asyncio.sleep(max(0.0, due - loop.time()))
    for each in confirmations:
        each.confirm()


async def consume(reader: Reader, orders: Orders) -> None:
    """Deliver to a file until cancelled."""
    log = os.open(Path(orders.folder) / "delivered", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    while True:
        batch = await take_some(reader, 500)
        os.write(log, b"".join(b"%s %s %s\n" % (m.topic.encode(), m.payload, m.id.encode()) for m in batch))
        reader.delivered(batch)


async def work(orders: Orders) -> None:
    """Append, and drain what is leased, until asked to stop; print the faults of the ledgers."""
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    async with shared(orders.spool) as spool:
        reader = await spool.attach(route("cloud"))
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(consume(reader, orders), name="consume"),
                group.create_task(produce(spool, orders), name="produce"),
            ]
            await stop.wait()
            for task in tasks:
                task.cancel()
        print(json.dumps(dict(spool.faults)), flush=True)


if __name__ == "__main__":
    asyncio.run(work(msgspec.json.decode(sys.argv[1], type=Orders)))
