"""CPU per received message: the MQTT source against aiomqtt's iterator, on the same broker and load."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))

import aiomqtt

from edgerouter import SourceContext
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.source import MqttSource
from support.mosquitto import Mosquitto

TOPICS = 50
PAYLOAD = os.urandom(200)
WINDOW = 500
"""Messages in flight from the load to the broker; fewer than mosquitto queues for a client."""


def load(port: int, qos: int, count: int) -> None:
    """Publish as fast as the broker accepts; runs in a separate process."""
    with socket.create_connection(("127.0.0.1", port)) as broker:
        broker.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client_id = b"load"
        connect = b"\x00\x04MQTT\x04\x02\x00\x3c" + len(client_id).to_bytes(2) + client_id
        broker.sendall(bytes((0x10, len(connect))) + connect)
        stream = broker.makefile("rb")
        stream.read(4)
        sent = 0
        while sent < count:
            packets = bytearray()
            part = min(WINDOW, count - sent)
            for number in range(sent, sent + part):
                topic = b"bench/%d/value" % (number % TOPICS)
                body = len(topic).to_bytes(2) + topic + ((number % 65_535 + 1).to_bytes(2) if qos else b"") + PAYLOAD
                packets += bytes((0x30 | qos << 1, len(body) & 127 | 128, len(body) >> 7)) + body
            broker.sendall(packets)
            if qos:
                stream.read(4 * part)
            else:
                time.sleep(part / 25_000)  # QoS 0 has no flow control: stay below the speed of every subscriber here
            sent += part
        broker.sendall(b"\xe0\x00")


@contextlib.asynccontextmanager
async def loading(port: int, qos: int, count: int) -> AsyncIterator[None]:
    """Run the load in a separate process."""
    process = await asyncio.create_subprocess_exec(sys.executable, __file__, "--load", str(port), str(qos), str(count))
    try:
        yield
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def with_source(port: int, qos: int, count: int) -> float:
    """Return the CPU seconds of the MQTT source, acknowledging each delivery at once."""
    ready = asyncio.Event()

    def connected(is_connected: bool, _: str) -> None:
        if is_connected:
            ready.set()

    context = SourceContext("bench", "bench", f"{time.time_ns()}", lambda: None, lambda *_: None, connected)
    config = MqttSourceConfig.model_validate({"url": f"mqtt://127.0.0.1:{port}", "topics": ["bench/#"], "clean_session": True})
    async with MqttSource.open(config, context) as source:
        await ready.wait()
        async with loading(port, qos, count):
            seen = 0
            before = time.process_time()
            async for delivery in source.deliveries():
                seen += len(delivery.messages)
                delivery.acknowledge()
                if seen >= count:
                    break
            return time.process_time() - before


async def with_iterator(port: int, qos: int, count: int) -> float:
    """Return the CPU seconds of aiomqtt, used as its documentation shows."""
    async with aiomqtt.Client("127.0.0.1", port, protocol=aiomqtt.ProtocolVersion.V5) as client:
        await client.subscribe("bench/#", qos=1)
        async with loading(port, qos, count):
            seen = 0
            before = time.process_time()
            async for _ in client.messages:
                seen += 1
                if seen >= count:
                    break
            return time.process_time() - before


async def measure(run: Callable[[int, int, int], Awaitable[float]], port: int, qos: int, count: int) -> float:
    """Return CPU per message in microseconds; the better of two runs."""
    return min([await asyncio.wait_for(run(port, qos, count), 120) for _ in range(2)]) / count * 1e6


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--messages", type=int, default=30_000)
    parser.add_argument("--load", nargs=3, type=int, metavar=("PORT", "QOS", "COUNT"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.load:
        load(*arguments.load)
        return
    with (
        tempfile.TemporaryDirectory() as folder,
        Mosquitto(Path(folder), ["max_queued_messages 1000000", "log_type error"]) as broker,
    ):
        for qos in (0, 1):
            ours = asyncio.run(measure(with_source, broker.port, qos, arguments.messages))
            plain = asyncio.run(measure(with_iterator, broker.port, qos, arguments.messages))
            print(f"QoS {qos}: source {ours:.1f} us a message, aiomqtt iterator {plain:.1f} us, ratio {ours / plain:.2f}")


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt, subprocess.SubprocessError):
        main()
