"""An open MQTT source that records everything it reports to its router."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiomqtt

from edgerouter import Delivery, Message, SourceContext
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.in_flight import Batch
from edgerouter.sources.mqtt.source import MqttSource
from support.mosquitto import Mosquitto

PATIENCE = 10.0
"""Seconds after which an expected event has failed."""


class TakesAll:
    """Memory and duplicate filter of a session in which nothing is sent twice; remembers what it was asked."""

    watching = False

    def __init__(self) -> None:
        self.asked: list[tuple[bytes, bool]] = []

    def wants(self, _: Message, identifier: bytes, *, again: bool) -> bool:
        self.asked.append((identifier, again))
        return True

    def receipt(self, _: Batch) -> bytes:
        return b""

    def settled(self, batch: Batch, acks: bytes) -> None: ...


@dataclass
class Opened:
    """A source and its reports."""

    source: MqttSource
    told: list[tuple[bool, str]]
    dropped: Counter[str]
    hurried: list[int]
    _deliveries: AsyncIterator[Delivery] = field(init=False)

    def __post_init__(self) -> None:
        self._deliveries = self.source.deliveries()

    async def connected(self) -> None:
        """Wait until the source reports that it is connected."""
        await eventually(lambda: bool(self.told) and self.told[-1][0])

    async def disconnected(self) -> str:
        """Wait until the source reports that it is not connected; return the reason."""
        await eventually(lambda: bool(self.told) and not self.told[-1][0])
        return self.told[-1][1]

    async def delivery(self) -> Delivery:
        """Return the next delivery."""
        return await asyncio.wait_for(anext(self._deliveries), PATIENCE)

    async def messages(self, count: int, *, acknowledge: bool = True) -> list[Message]:
        """Return this many messages, acknowledged as by a router."""
        found: list[Message] = []
        while len(found) < count:
            delivery = await self.delivery()
            found += delivery.messages
            if acknowledge:
                delivery.acknowledge()
        return found

    async def nothing_comes(self, seconds: float = 0.3) -> None:
        """Fail if another message comes."""
        pull = asyncio.ensure_future(anext(self._deliveries))
        done, _ = await asyncio.wait((pull,), timeout=seconds)
        pull.cancel()
        self._deliveries = self.source.deliveries()
        assert not done, pull.result().messages

    async def rest(self) -> list[Message]:
        """Return the messages that the source still yields after it was stopped."""
        return [message async for delivery in self._deliveries for message in delivery.messages]


@asynccontextmanager
async def opened(
    broker: Mosquitto | str,
    *topics: str,
    state: Path | None = None,
    unacknowledged: Sequence[Delivery] = (),
    name: str = "local",
    probe: bool = False,
    **config: Any,
) -> AsyncIterator[Opened]:
    """Open a source that reconnects quickly."""
    told: list[tuple[bool, str]] = []
    dropped: Counter[str] = Counter()
    hurried: list[int] = []

    def drop(topic: str, messages: int, reason: str) -> None:
        dropped[topic if reason == "intake_full" else f"{reason} {topic}"] += messages

    context = SourceContext(
        name=name,
        host="test",
        spool="0123456789abcdef",
        flush_now=lambda: hurried.append(1),
        dropped=drop,
        connected=lambda connected, reason: told.append((connected, reason)),
        unacknowledged=unacknowledged,
        state=state,
        probe=probe,
    )
    settings = {
        "url": broker if isinstance(broker, str) else broker.url,
        "topics": topics or ("#",),
        "reconnect": {"first_delay": 0.05, "max_delay": 0.2},
    } | config
    async with MqttSource.open(MqttSourceConfig(**settings), context) as source:
        yield Opened(source, told, dropped, hurried)


async def publish(broker: Mosquitto, topic: str, *payloads: bytes, qos: int = 1, retain: bool = False, **options: Any) -> None:
    """Publish with a separate client, in order."""
    async with aiomqtt.Client("127.0.0.1", broker.port, **options) as client:
        for payload in payloads:
            await client.publish(topic, payload, qos=qos, retain=retain)


async def eventually(condition: Callable[[], bool], patience: float = PATIENCE) -> None:
    """Wait until the condition holds."""
    async with asyncio.timeout(patience):
        while not condition():
            await asyncio.sleep(0.01)
