"""One router bridges two brokers in both directions: a message arrives once at the other broker and does not loop."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from support.mosquitto import Mosquitto, running
from support.router import router

MESSAGES = 20
PROTOCOLS = {"5": aiomqtt.ProtocolVersion.V5, "3.1.1": aiomqtt.ProtocolVersion.V311}


def bridge(one: Mosquitto, two: Mosquitto, protocol: str, *, guard: bool = True) -> dict[str, Any]:
    """Build a configuration with a source and a sink on each broker, all on the same topics."""
    return {
        "sources": {
            name: {"type": "mqtt", "url": broker.url, "topics": ["plant/#"], "protocol": protocol}
            for name, broker in (("one", one), ("two", two))
        },
        "sinks": {
            name: {"type": "mqtt", "url": broker.url, "topics": ["plant/#"], "protocol": protocol, "loop_guard": guard}
            for name, broker in (("to-one", one), ("to-two", two))
        },
    }


@asynccontextmanager
async def listening(broker: Mosquitto) -> AsyncIterator[Counter[bytes]]:
    """Count the messages of a broker, by payload."""
    counts: Counter[bytes] = Counter()
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe("plant/#", qos=1)

        async def listen() -> None:
            async for message in client.messages:
                counts[bytes(message.payload)] += 1

        task = asyncio.create_task(listen())
        try:
            yield counts
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_two_brokers_bridged_both_ways_get_each_message_once(tmp_path: Path, protocol: str) -> None:
    """Without the guard one message became 44,000 in ten seconds."""
    with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        async with (
            router(tmp_path, bridge(one, two, protocol)) as bridging,
            listening(one) as at_one,
            listening(two) as at_two,
            aiomqtt.Client("127.0.0.1", one.port, protocol=PROTOCOLS[protocol]) as first,
            aiomqtt.Client("127.0.0.1", two.port, protocol=PROTOCOLS[protocol]) as second,
        ):
            await bridging.start()
            for number in range(MESSAGES):
                await first.publish("plant/state", b"same", qos=1)
                await first.publish("plant/number", b"first %d" % number, qos=1)
                await second.publish("plant/number", b"second %d" % number, qos=1)
            # each of these is stored twice, as sent and as returned, and each sink settles both
            stored = 2 * 3 * MESSAGES
            settled = await bridging.until(
                lambda status: all(s["matched"] >= stored and not s["pending"] for s in status["sinks"].values())
            )
            assert {s["matched"] for s in settled["sinks"].values()} == {stored}
            assert {name: s["delivered"] for name, s in settled["sinks"].items()} == {"to-one": MESSAGES, "to-two": 2 * MESSAGES}
            assert {drop["reason"] for drop in settled["drops"]} == {"loop"}
            once = {b"first %d" % n: 1 for n in range(MESSAGES)} | {b"second %d" % n: 1 for n in range(MESSAGES)}
            expected = once | {b"same": MESSAGES}
            async with asyncio.timeout(30):
                while (at_one, at_two) != (expected, expected):
                    await asyncio.sleep(0.05)
            assert not settled["sinks"]["to-one"]["last_error"]


async def test_check_and_run_refuse_a_loop_without_the_guard(tmp_path: Path) -> None:
    with running(tmp_path / "one") as one, running(tmp_path / "two") as two:
        config = bridge(one, two, "5", guard=False)
        async with router(tmp_path, bridge(one, two, "5")) as bridging:
            bridging.write(config)
            code, said = await bridging.check_connect()
        assert code == 2
        assert "sinks.to-one.loop_guard: false, and what this sink publishes to 127.0.0.1" in said
        assert "edgerouter.yaml:" in said
        assert "comes back by the source 'one'" in said
