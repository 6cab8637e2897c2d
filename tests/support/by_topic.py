"""Publishes to several topics at once, each in its order."""

from __future__ import annotations

import asyncio
import random

import aiomqtt

Payloads = dict[str, list[bytes]]
"""By MQTT topic, in the order published."""


def numbered(topics: int, count: int, first: int = 0) -> Payloads:
    """Return binary payloads that begin with their number, dealt to the topics in turn."""
    dice = random.Random(first)
    payloads: Payloads = {f"plant/{number}/t": [] for number in range(topics)}
    for number in range(first, first + count):
        payloads[f"plant/{number % topics}/t"].append(number.to_bytes(4, "big") + dice.randbytes(dice.randrange(200)))
    return payloads


async def publish_all(port: int, payloads: Payloads) -> None:
    """Publish at QoS 1, and wait until all is acknowledged."""

    async def publish_topic(client: aiomqtt.Client, topic: str) -> None:
        for payload in payloads[topic]:
            await client.publish(topic, payload, qos=1, timeout=60)

    async with aiomqtt.Client("127.0.0.1", port, max_inflight_messages=len(payloads)) as client, asyncio.TaskGroup() as tasks:
        client.pending_calls_threshold = 1000
        for topic in payloads:
            tasks.create_task(publish_topic(client, topic))
