"""Devices that publish measurements over MQTT, each with its connection, and count the broker's acknowledgements."""

from __future__ import annotations

import asyncio
import json
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiomqtt

from edgerouter.demo.signals import Signal


class Devices:
    """All devices, and what they have sent.

    Args:
        port: of the broker on this machine.
        signals: what each device measures, by the device's name.
        rate: messages a second of all devices together.
    """

    def __init__(self, port: int, signals: list[tuple[str, Signal]], rate: float) -> None:
        self._port = port
        self._signals = signals
        self._interval = len(signals) / rate
        self._stop = asyncio.Event()
        self.sent: Counter[str] = Counter()
        """By topic: messages that the broker acknowledged. Their payloads carry `n` = 1, 2, 3 ..."""

    async def run(self) -> None:
        """Publish until `stop`.

        Raises:
            aiomqtt.MqttError: the broker is gone.
        """
        async with asyncio.TaskGroup() as tasks:
            for position, (name, signal) in enumerate(self._signals):
                # spread over the interval, so that the rate is even
                first = self._interval * position / len(self._signals)
                tasks.create_task(self._device(name, signal, first), name=f"device {name}")

    def stop(self) -> None:
        """Publish nothing more; `run` returns once the broker has acknowledged what is on its way."""
        self._stop.set()

    async def _device(self, name: str, signal: Signal, first: float) -> None:
        async with aiomqtt.Client("127.0.0.1", self._port, identifier=f"device-{name}") as client:
            due = time.monotonic() + first
            while not await self._stopped_before(due):
                reading, alert = signal.read()
                await self._publish(client, f"sensors/{name}/{signal.kind}", {"device": name, **reading})
                if alert:
                    await self._publish(client, f"sensors/{name}/alert", {"device": name, "alert": alert, **reading})
                due += self._interval

    async def _publish(self, client: aiomqtt.Client, topic: str, content: dict[str, object]) -> None:
        payload = json.dumps({"n": self.sent[topic] + 1, **content}, ensure_ascii=False)
        await client.publish(topic, payload, qos=1)
        self.sent[topic] += 1

    async def _stopped_before(self, due: float) -> bool:
        """Sleep until the next reading is due, unless it is time to stop."""
        wait = due - time.monotonic()
        if wait <= 0:
            return self._stop.is_set()
        try:
            async with asyncio.timeout(wait):
                return await self._stop.wait()
        except TimeoutError:
            return False


@asynccontextmanager
async def publishing(devices: Devices) -> AsyncIterator[None]:
    """Let the devices publish in the background; leaving the block stops them and waits for the last acknowledgement.

    Raises:
        aiomqtt.MqttError: the broker is gone.
    """
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(devices.run(), name="devices")
        yield
        devices.stop()
