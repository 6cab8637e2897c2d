"""Deliveries of a sender that sends again what it gets no acknowledgement for, and what a stream holds of them."""

from __future__ import annotations

import random
from collections import Counter

from edgerouter.message import Message
from edgerouter.source import Confirmation, Delivery
from edgerouter_nats.spool.spool import JetStreamSpool
from support.pipeline import until
from support.spools import fresh

noise = random.Random(1).randbytes


def sent(number: int, count: int = 3) -> list[Message]:
    """Build the messages of a delivery; each has its own payload."""
    return fresh(count, payload=lambda n: b"%d-%d" % (number, n))


async def deliver(spool: JetStreamSpool, number: int, messages: list[Message] | None = None) -> None:
    """Append a delivery as a source does whose sender sends again what it gets no acknowledgement for."""
    messages = messages or sent(number)
    await spool.append("sender", Delivery(messages, lambda: None, b"%d" % number, Confirmation()), {"cloud": len(messages)})


async def deliver_again(spool: JetStreamSpool, *numbers: int) -> None:
    """Append those deliveries that a new process does not know, in order."""
    known = {int(each.receipt) for each in spool.unacknowledged("sender")}
    for number in numbers:
        if number not in known:
            await deliver(spool, number)


async def stored(spool: JetStreamSpool, stream: str) -> Counter[bytes]:
    """Count the messages of the whole stream by their payload."""
    last = (await spool.engine.api.state(stream)).last
    chunks = [chunk async for chunk in spool.chunks(1024, 1024 * (last + 1))]
    return Counter(message.payload for chunk in chunks for message in chunk.messages)


async def refused(killed: JetStreamSpool) -> None:
    """Wait until a process that lives on has learned that it has a successor."""
    await until(lambda: "another router was started with the name" in killed.status.reason)


def once(*numbers: int) -> Counter[bytes]:
    """Return what a stream holds that has these deliveries once."""
    return Counter(message.payload for number in numbers for message in sent(number))
