"""A message that a service leases is stored once, also where a crash lost its acknowledgement and steps have changed it.

Covers: edgerouter.receiving.receiver, edgerouter.receiving.source.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from edgerouter import Message, SourceContext, Unavailable
from edgerouter.pipeline.intake import Intake
from edgerouter.pipeline.routing import Routing
from edgerouter.receiving import Leased, LeaseSource
from edgerouter.receiving.receiver import LeaseReceiver
from edgerouter.spool import open_spool
from edgerouter.spool.contract import Spool
from support.pipeline import until
from support.spools import crashing, route, sqlite, take
from support.steps import chain

STEPS: tuple[dict[str, Any], ...] = (
    {"type": "filter", "topics": ["wanted"]},
    {"type": "split"},
    {"type": "topic", "topic": "is/{topic}"},
)


class Queue:
    """A service that hands out each message again, to each new consumer, until it is acknowledged."""

    what = "queue"
    most_received = most_acknowledged = 100
    first_lease = lease = 30.0

    def __init__(self, *messages: Message) -> None:
        self.waiting = {str(number): message for number, message in enumerate(messages)}
        self.reachable = True
        self._leased: set[str] = set()

    def consumed(self) -> Queue:
        """Return the queue as a new consumer finds it."""
        self._leased.clear()
        return self

    async def connect(self) -> None: ...

    async def receive(self, most: int) -> Sequence[Leased]:
        found = [Leased(id_, id_, message) for id_, message in self.waiting.items() if id_ not in self._leased][:most]
        if not found:
            await asyncio.Event().wait()
        self._leased.update(each.id for each in found)
        return found

    async def acknowledge(self, handles: Sequence[str]) -> Sequence[str]:
        if not self.reachable:
            raise Unavailable("the network is down")
        for handle in handles:
            self.waiting.pop(handle, None)
        return []

    async def extend(self, handles: Sequence[str]) -> None: ...


@asynccontextmanager
async def storing(queue: Queue, spool: Spool, *steps: dict[str, Any]) -> AsyncIterator[None]:
    """Move what the queue holds into the spool, shaped by the steps."""

    @asynccontextmanager
    async def opened() -> AsyncIterator[LeaseSource[Any]]:
        context = SourceContext(
            name="source",
            host="box",
            spool=spool.id,
            flush_now=lambda: None,
            dropped=lambda _topic, _messages, _reason: None,
            connected=lambda _connected, _reason: None,
            unacknowledged=spool.unacknowledged("source"),
        )
        receiver = LeaseReceiver(queue.consumed(), context, max_messages=1000, max_bytes=1024**2, polls=1)
        async with receiver.running():
            yield Received(receiver)

    intake = Intake("source", spool, lambda: Routing({"cloud": lambda _: True}), 0.0, steps=chain(*steps) if steps else None)
    task = asyncio.create_task(intake.run(opened))
    try:
        yield
    finally:
        intake.stop()
        await asyncio.wait([task])


class Received(LeaseSource[Any]):
    """The source of the queue."""

    @classmethod
    def connect(cls, config: Any, context: SourceContext) -> Any:
        raise NotImplementedError


async def test_messages_that_steps_change_split_or_leave_out_are_recognised_after_a_crash(tmp_path: Path) -> None:
    """The acknowledgement of a whole delivery is lost, the service sends all of it again, and nothing is stored twice."""
    queue = Queue(Message("other", b"1", 1), Message("wanted", b"[2, 3]", 2), Message("wanted", b"[4, 5, 6]", 3))
    queue.reachable = False
    async with crashing(tmp_path) as (spool, crashed):
        await spool.attach(route("cloud"))
        async with storing(queue, spool, *STEPS):
            await until(lambda: spool.ledgers["cloud"].matched == 5)
            await asyncio.sleep(0)
            crashed()
    assert len(queue.waiting) == 3
    queue.reachable = True
    async with open_spool(sqlite(tmp_path)) as spool:
        reader = await spool.attach(route("cloud"))
        async with storing(queue, spool, *STEPS):
            await until(lambda: not queue.waiting)
        stored = await take(reader, 5)
        assert [(message.topic, message.payload) for message in stored] == [("is/wanted", b"%d" % n) for n in (2, 3, 4, 5, 6)]
        assert reader.take(1) == []
