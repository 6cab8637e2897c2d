"""Cost of the sinks that publish over MQTT, to a mosquitto in a separate process: CPU and messages a second."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import math
import socket
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvloop
from benchmarks.null_service import messages

from edgerouter import Message, Sink
from edgerouter.mqtt.packets import encode_publish
from edgerouter.mqtt.sockets import acknowledge_now
from edgerouter.testing import make_context
from edgerouter.testing.delivery import batches
from support.certificates import Authority, Certificate
from support.mosquitto import Mosquitto, free_port
from support.process_meter import usage

MQTT = "edgerouter.sinks.mqtt.sink:MqttSink"
HUB = "edgerouter_azure.iot_hub.sink:IotHubSink"
CORE = "edgerouter_aws.iot_core.sink:IotCoreSink"
_BILLED = 4096
"""Bytes that IoT Hub bills as one message."""
_ENDPOINT = "a1b2c3-ats.iot.eu-west-1.amazonaws.com"
_DEVICE = "HostName=plant.azure-devices.net;DeviceId=bench;SharedAccessKey=a2V5"


@dataclass(frozen=True, slots=True)
class Case:
    """One row: a sink, its configuration, and its share of the messages."""

    name: str
    sink: str
    config: dict[str, Any] = field(default_factory=dict)
    share: float = 1.0
    batch: int = 1000


FLOOR = Case("packets made before, over a bare socket, MQTT 3.1.1", "")
"""The least that a sender needs, and so the most that the broker takes from one connection: the bound of the rows below it."""
CASES = (
    FLOOR,
    Case("mqtt, QoS 1, MQTT 5", MQTT, {"max_inflight": 1000}),
    Case("mqtt, QoS 1, MQTT 3.1.1", MQTT, {"max_inflight": 1000, "protocol": "3.1.1"}),
    Case("mqtt, QoS 1, MQTT 5, 100 in flight", MQTT),
    Case("mqtt, QoS 0, MQTT 5", MQTT, {"qos": 0}),
    Case("azure-iot-hub", HUB),
    Case("azure-iot-hub, pack jsonl", HUB, {"pack": "jsonl"}),
    Case("aws-iot-core, at its 100 messages a second", CORE, share=0.02, batch=200),
)


@dataclass(frozen=True, slots=True)
class Result:
    """Figures of one case."""

    case: Case
    messages: int
    cpu: float
    """Microseconds a message."""
    per_second: float
    publishes: int
    billed: int
    """Units of 4 KiB begun."""
    broker_cpu: float
    """Microseconds of the broker a message."""


@dataclass(frozen=True, slots=True)
class Broker:
    """Ports of the broker, and the authority behind those with TLS."""

    process: int
    plain: int
    hub: int
    core: int
    authority: Path
    device: Certificate


@contextlib.contextmanager
def serving() -> Iterator[Broker]:
    """Run a broker with a plain port, and one with TLS for each hub."""
    with tempfile.TemporaryDirectory() as folder:
        authority = Authority(Path(folder) / "authority")
        settings = ["max_queued_messages 0", "max_inflight_messages 65535", "log_type error"]
        ports = {name: free_port() for name in ("localhost", _ENDPOINT)}
        for name, port in ports.items():
            issued = authority.issue(name)
            settings += [f"listener {port} 127.0.0.1", f"certfile {issued.certificate}", f"keyfile {issued.key}"]
        with Mosquitto(Path(folder) / "broker", settings) as broker:
            yield Broker(
                broker.process_id,
                broker.port,
                ports["localhost"],
                ports[_ENDPOINT],
                authority.certificate,
                authority.issue("bench"),
            )


def _config(case: Case, broker: Broker) -> dict[str, Any]:
    if case.sink == MQTT:
        return {"url": f"mqtt://127.0.0.1:{broker.plain}"}
    if case.sink == HUB:
        return {"connection_string": _DEVICE, "endpoint": f"localhost:{broker.hub}", "ca_file": broker.authority}
    device = {"certificate": broker.device.certificate, "key_file": broker.device.key, "root_ca": broker.authority}
    return {"endpoint": _ENDPOINT, "address": f"127.0.0.1:{broker.core}", **device}


def floor(broker: Broker, load: Sequence[Message]) -> Result:
    """Send packets of QoS 1 that are made before, as many at once as a batch has, and count the bytes of the answers."""
    parts: list[bytes] = [
        encode_publish(each.topic, each.payload, 1, number % FLOOR.batch + 1, retain=False, again=False, properties=b"")
        for number, each in enumerate(load)
    ]
    batches = [b"".join(parts[start : start + FLOOR.batch]) for start in range(0, len(parts), FLOOR.batch)]
    with socket.create_connection(("127.0.0.1", broker.plain)) as connection:
        connection.sendall(b"\x10\x11\x00\x04MQTT\x04\x02\x00\x00\x00\x05floor")
        assert connection.recv(4) == b"\x20\x02\x00\x00"
        begun, before, broker_before = time.monotonic(), time.process_time(), usage(broker.process)
        for batch in batches:
            connection.sendall(batch)
            left = 4 * min(FLOOR.batch, len(load))
            while left:
                left -= len(connection.recv(left))
                acknowledge_now(connection)  # the broker keeps the rest of its answers back until then
        spent, passed = time.process_time() - before, time.monotonic() - begun
    count = len(load)
    taken = (usage(broker.process) - broker_before).cpu_seconds
    return Result(FLOOR, count, spent / count * 1e6, count / passed, count, 0, taken / count * 1e6)


async def run(case: Case, broker: Broker, load: Sequence[Message]) -> Result:
    """Write the messages of one case."""
    if case is FLOOR:
        return floor(broker, load[: len(load) - len(load) % FLOOR.batch] or load)
    module, _, name = case.sink.partition(":")
    sink_class: type[Sink[Any]] = getattr(importlib.import_module(module), name)
    load = load[: int(len(load) * case.share)]
    config = sink_class.Config.model_validate(_config(case, broker) | case.config)
    packed = "pack" in case.config
    publishes = billed = 0
    written: list[list[Message]] = []
    async with sink_class.open(config, make_context("bench")) as sink:
        await sink.write(load[:1])
        begun, before, broker_before = time.monotonic(), time.process_time(), usage(broker.process)
        for start in range(0, len(load), case.batch):
            part = load[start : start + case.batch]
            for places in batches(sink, part):
                batch = [part[place] for place in places]
                outcome = await sink.write(batch)
                assert not outcome.failed, outcome.failed[0]
                assert not outcome.untried
                written.append(batch)
        spent, passed = time.process_time() - before, time.monotonic() - begun
        broker_spent = (usage(broker.process) - broker_before).cpu_seconds
        for batch in written:
            sizes = [sink.size_of(message) for message in batch]
            publishes += 1 if packed else len(batch)
            billed += sum(map(_units, [sum(sizes)] if packed else sizes))
    return Result(case, len(load), spent / len(load) * 1e6, len(load) / passed, publishes, billed, broker_spent / len(load) * 1e6)


def _units(size: int) -> int:
    return max(1, math.ceil(size / _BILLED))


def _line(result: Result, bound: Result) -> str:
    speed = f"{result.per_second:,.0f} messages/s, {result.per_second / bound.per_second:.2f} of the bare socket"
    return f"{result.case.name}: {result.cpu:.1f} us, {speed}; the broker {result.broker_cpu:.1f} us"


async def measure(count: int) -> list[Result]:
    """Run every case whose plugin is installed."""
    load = messages(count)
    results = []
    with serving() as broker:
        for case in CASES:
            if case is FLOOR or importlib.util.find_spec(case.sink.partition(".")[0]) is not None:
                results.append(await run(case, broker, load))
                print(_line(results[-1], results[0]), file=sys.stderr)
    return results


if __name__ == "__main__":
    uvloop.run(measure(int(sys.argv[1]) if len(sys.argv) > 1 else 50_000))
