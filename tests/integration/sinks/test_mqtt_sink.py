"""The MQTT sink, tested with a real mosquitto.

Covers: edgerouter.mqtt.publisher, edgerouter.sinks.mqtt.sink.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import aiomqtt
import pytest

from edgerouter import Message, Properties, SinkContext, Unavailable
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from edgerouter.testing import Received, SinkConformance, SinkServer, make_message, make_messages
from support.mosquitto import Mosquitto
from support.mqtt_sink import CONTEXT, consumer, opened, until


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", ["max_queued_messages 0"]) as running:
        yield running


class BrokerServer(SinkServer):
    """A mosquitto that the test subscribes to."""

    def __init__(self, broker: Mosquitto, got: list[aiomqtt.Message]) -> None:
        self.broker = broker
        self.got = got

    async def received(self) -> Sequence[Received]:
        """Return all messages received; a marker published now arrives last."""
        if self.broker.runs:
            before = len(self.got)
            async with aiomqtt.Client("127.0.0.1", self.broker.port) as client:
                await client.publish("end/marker", b"", qos=1)
            async with asyncio.timeout(10):
                while not any(str(each.topic) == "end/marker" for each in self.got[before:]):
                    await asyncio.sleep(0.005)
        return [
            Received(bytes(each.payload), str(each.topic), dict(each.properties.UserProperty)["edgerouter-id"])  # type: ignore[union-attr]
            for each in self.got
            if str(each.topic) != "end/marker"
        ]

    async def stop(self) -> None:
        self.broker.kill()


class TestMqttSink(SinkConformance):
    sink_class = MqttSink
    unsupported: ClassVar[Mapping[str, str]] = {
        "max_bytes": "each message has its own packet",
        "max_message_bytes": "a packet may have 256 MiB",
        **dict.fromkeys(
            [
                "requests",
                "connections",
                "fail",
                "throttle",
                "refuse",
                "reject",
                "fail_once",
                "stall",
                "lose_next_response",
                "cut_next",
                "heal",
            ],
            "a real mosquitto cannot be made to",
        ),
    }

    @pytest.fixture
    async def server(self, broker: Mosquitto) -> AsyncIterator[BrokerServer]:
        async with consumer(broker) as got:
            yield BrokerServer(broker, got)

    @pytest.fixture
    def config(self, server: BrokerServer) -> Mapping[str, Any]:
        return {"url": server.broker.url, "username": "edge", "password": "a-secret-of-the-test"}


async def test_a_message_keeps_its_properties_and_carries_its_id(broker: Mosquitto) -> None:
    properties = Properties(
        user=(("k", "1"), ("k", "2")),
        content_type="text/csv",
        response_topic="r",
        correlation_data=b"\x00",
        expiry=10**9,
        payload_is_text=True,
    )
    async with consumer(broker) as got, opened(broker, topic="sites/{host}/{topic[1:]}/{property[k]}") as sink:
        await sink.write([make_message(b"a", properties=properties)])
        await until(got, 1)

    assert str(got[0].topic) == "sites/edge-1/line-1/temperature/1"
    found: Any = got[0].properties
    assert found.UserProperty == [("k", "1"), ("k", "2"), ("edgerouter-id", "5p00l-1")]
    assert (found.ContentType, found.ResponseTopic, found.CorrelationData) == ("text/csv", "r", b"\x00")
    assert 0 < found.MessageExpiryInterval <= 10**9
    assert found.PayloadFormatIndicator == 1


@pytest.mark.parametrize(
    "config",
    [{"protocol": "3.1.1"}, {"qos": 0}, {"qos": 2}, {"qos": 2, "protocol": "3.1.1"}, {"id_property": None}, {"max_inflight": 1}],
)
async def test_a_large_batch_comes_through_in_order(broker: Mosquitto, config: dict[str, Any]) -> None:
    batch = make_messages([b"%d" % number for number in range(2000)])
    async with consumer(broker, ["plant/#"]) as got, opened(broker, **config) as sink:
        assert not (await sink.write(batch)).failed
        await until(got, len(batch))

    assert [each.payload for each in got] == [message.payload for message in batch]


async def test_retained_messages_stay_retained_where_asked(broker: Mosquitto) -> None:
    batch = [make_message(b"kept", topic="a/kept", retained=True), make_message(b"gone", topic="a/gone")]
    async with opened(broker, retain="same") as sink:
        await sink.write(batch)
    async with consumer(broker, ["a/#", "$SYS/broker/version"]) as got:
        await until(got, 2)
        assert {str(each.topic) for each in got} == {"a/kept", "$SYS/broker/version"}


async def test_a_lost_connection_is_unavailable_and_the_next_write_makes_a_new_one(broker: Mosquitto) -> None:
    async with opened(broker) as sink:
        await sink.write([make_message()])
        broker.kill()
        with pytest.raises(Unavailable):
            await failing(sink, [make_message()])
        broker.start()
        async with consumer(broker) as got:
            assert not (await sink.write([make_message(sequence=2)])).failed
            await until(got, 1)


async def failing(sink: MqttSink, batch: Sequence[Message]) -> None:
    """Run a write that delivers nothing, and return its error."""
    failures = (await sink.write(batch)).failed
    assert len(failures) == len(batch)
    raise failures[0].error


async def test_a_broker_that_dies_in_the_middle_leaves_nothing_unsaid(broker: Mosquitto) -> None:
    """Each message of the batch is either confirmed or returned."""
    batch = make_messages([b"x" * 1000] * 3000)
    async with opened(broker) as sink:
        broker.freeze()
        writing = asyncio.create_task(sink.write(batch))
        await asyncio.sleep(0)
        broker.kill()
        async with asyncio.timeout(20):
            failures = (await writing).failed

    assert failures
    assert all(isinstance(failure.error, Unavailable) for failure in failures)


async def test_a_cancelled_write_sends_nothing_later(broker: Mosquitto) -> None:
    batch = make_messages([b"%d" % number for number in range(500)])
    async with consumer(broker, ["plant/#"]) as got, opened(broker, max_inflight=5) as sink:
        broker.freeze()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.2):
                await sink.write(batch)
        broker.thaw()
        assert not (await sink.write([make_message(b"last", sequence=900)])).failed
        await until([each for each in got if each.payload == b"last"], 0)
        async with asyncio.timeout(10):
            while not any(each.payload == b"last" for each in got):
                await asyncio.sleep(0.01)
    assert len(got) <= 6


@pytest.mark.skipif(find_spec("uvloop") is None, reason="uvloop is not installed")
def test_connections_that_end_while_messages_go_out_leave_no_trace_in_the_event_loop(
    broker: Mosquitto, caplog: pytest.LogCaptureFixture
) -> None:
    """A socket must not be watched by a descriptor that another file has reused."""
    import uvloop

    served = 0

    async def end(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal served
        await reader.read(1000)
        served += 1
        # the connection ends right behind the answer, so the end is read while messages are being sent
        writer.write(b"\x20\x03\x00\x00\x00" + b"\xe0\x02\x8b\x00")
        writer.close()

    async def walk() -> None:
        server = await asyncio.start_server(end, "127.0.0.1")
        port = server.sockets[0].getsockname()[1]
        async with server, asyncio.timeout(30), opened(broker, url=f"mqtt://127.0.0.1:{port}", protocol="5") as sink:
            while served < 20:
                with contextlib.suppress(Unavailable):
                    failures = (await sink.write(make_messages([b"x" * 100] * 100))).failed
                    assert all(isinstance(failure.error, Unavailable) for failure in failures)

    uvloop.run(walk())
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def test_a_look_beside_a_running_sink_of_the_same_client_id_does_not_end_its_connection(broker: Mosquitto) -> None:
    config = MqttSinkConfig.model_validate({"url": broker.url, "client_id": "bridge"})
    async with MqttSink.open(config, CONTEXT) as running:
        await running.write([make_message(sequence=1)])
        async with MqttSink.open(config, SinkContext("out", "edge-1", "check", probe=True)):
            pass
        await running.write([make_message(sequence=2)])
    assert broker.log.count(" as bridge (") == 1, "the running sink has connected once"
    assert broker.log.count(" as bridge-check (") == 1
