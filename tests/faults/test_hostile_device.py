"""A hostile device sends oversized and malformed data: the router stays small, and its event loop keeps running."""

import asyncio
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from support.influxdb import BUCKET, ORG, TOKEN, InfluxDbServer
from support.mqtt_packets import publish
from support.process_meter import usage
from support.router import router
from support.strict_broker import strict_broker

MIB = 1024**2
MOST_RSS = 300 * MIB
NO_PAUSE = 0.25
TOPICS = 4000
"""Number of topics of 60 KB each: 240 MB if held once, and every cache used to hold them."""
WINDOW = 50
"""Messages sent before the broker waits for acknowledgements."""


def nested(levels: int, key: str) -> bytes:
    """Build JSON whose leaves have ever longer paths: as line protocol with whole paths it grows a hundredfold."""
    return f'{{"v":1,"{key}":'.encode() * levels + b"1" + b"}" * levels


def settled(status: dict[str, Any], least: int) -> bool:
    """Return true once that many messages are delivered, and none is pending."""
    sinks = status["sinks"]
    return sinks["all"]["delivered"] >= least and not any(sink["pending"] for sink in sinks.values())


def attacks(five: bool) -> dict[str, list[bytes]]:
    """Return the packets of each attack by the topic that ends it."""
    properties = b"" if five else None
    pairs = b"\x26\x00\x01n\x00\x02vv" * 1_000_000 if five else None
    return {
        "big": [publish("big", bytes(80 * MIB), 1, 1, properties=properties) for _ in range(2)],
        "pairs": [publish("pairs", b"x", 1, 2, properties=pairs)],
        "topics": [publish(f"{n}/" + "x" * 60_000, b"x", 1, 100 + n, properties=properties) for n in range(TOPICS)],
        "nested": [publish("json/x", nested(900, "k" * 1000), 1, 3 + n, properties=properties) for n in range(3)],
    }


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_hostile_device_neither_fills_the_memory_nor_holds_the_event_loop(tmp_path: Path, protocol: str) -> None:
    """80 MB messages, 1,000,000 user properties, thousands of long topics and nested JSON, one after another."""
    async with strict_broker() as broker, InfluxDbServer().running() as influx:
        config = {
            "sources": {"devices": {"type": "mqtt", "url": broker.url, "topics": ["#"], "protocol": protocol}},
            "sinks": {
                "all": {"type": "file", "path": str(tmp_path / "all"), "framing": "raw-lines"},
                "influx": {
                    "type": "influxdb", "url": influx.url, "token": TOKEN, "org": ORG, "bucket": BUCKET, "topics": ["json/#"],
                },
            },
        }  # fmt: skip
        async with router(tmp_path, config, fresh=True) as process:
            await process.start()
            client = await broker.client()
            delivered = sent = 0
            for name, packets in attacks(protocol == "5").items():
                for packet in packets:
                    client.send(packet)  # whole packets: the broker's answers go between them
                    await client.writer.drain()
                    sent += 1
                    while sent - len(client.answers) > WINDOW:  # as any broker does
                        await asyncio.sleep(0.001)
                client.send(publish("end", name.encode(), 1, 50, properties=b"" if protocol == "5" else None))
                sent += 1
                delivered += len(packets) + 1 - (len(packets) if name == "big" else 0)
                status = await process.until(
                    partial(settled, least=delivered),
                    120,
                )
                peak = usage(process.pid).peak_rss_bytes
                assert peak < MOST_RSS, f"{name}: {peak / MIB:.0f} MiB"
                longest = status["event_loop"]["longest_pause_seconds"]
                assert longest < NO_PAUSE, f"{name}: {longest:.2f} s, {status['event_loop']}"
            assert not client.gone.is_set(), "the router must not disconnect from the broker"
            await process.until(lambda found: [(drop["reason"], drop["messages"]) for drop in found["drops"]] == [("too_large", 2)])
            assert len(await process.get("/metrics")) < MIB
            assert await process.stop() == 0
    assert not broker.faults
