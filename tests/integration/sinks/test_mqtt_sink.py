"""The MQTT sink, tested with a real mosquitto.

Covers: edgerouter.mqtt.publisher, edgerouter.sinks.mqtt.sink.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import aiomqtt
import pytest

from edgerouter import Message, Properties, Rejected, SinkContext, Unauthorized, Unavailable
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from edgerouter.testing import Received, SinkConformance, SinkServer, make_message, make_messages
from support.mosquitto import Mosquitto
from support.rewriting import rewriting

CONTEXT = SinkContext("out", "edge-1", "5p00l")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", ["max_queued_messages 0"]) as running:
        yield running


@asynccontextmanager
async def consumer(broker: Mosquitto, topics: Sequence[str] = ("#",)) -> AsyncIterator[list[aiomqtt.Message]]:
    """Yield all messages that subscribers get, as they arrive."""
    got: list[aiomqtt.Message] = []

    class Direct(asyncio.Queue[aiomqtt.Message]):
        """Receives messages without the tasks that aiomqtt's iterator creates."""

        def put_nowait(self, item: aiomqtt.Message) -> None:
            got.append(item)

    async with AsyncExitStack() as stack:
        stack.push_async_exit(_ignore_a_broker_that_is_gone)
        client = await stack.enter_async_context(
            aiomqtt.Client("127.0.0.1", broker.port, protocol=aiomqtt.ProtocolVersion.V5, timeout=3, queue_type=Direct)
        )
        for topic in topics:
            await client.subscribe(topic, qos=1)
        yield got


async def _ignore_a_broker_that_is_gone(kind: type[BaseException] | None, *_: object) -> bool:
    return kind is not None and issubclass(kind, aiomqtt.MqttError)


@asynccontextmanager
async def opened(broker: Mosquitto, **config: Any) -> AsyncIterator[MqttSink]:
    async with MqttSink.open(MqttSinkConfig.model_validate({"url": broker.url, **config}), CONTEXT) as sink:
        yield sink


async def until(got: Sequence[Any], count: int) -> None:
    async with asyncio.timeout(10):
        while len(got) < count:
            await asyncio.sleep(0.01)


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


def with_access(folder: Path, lines: str) -> Mosquitto:
    folder.mkdir()
    (folder / "acl").write_text(lines)
    return Mosquitto(folder, [f"acl_file {folder / 'acl'}"])


async def test_a_topic_that_is_not_permitted_is_rejected_and_the_others_are_taken(tmp_path: Path) -> None:
    with with_access(tmp_path / "broker", "topic readwrite ok/#\n") as broker:
        async with consumer(broker, ["ok/#"]) as got, opened(broker) as sink:
            outcome = await sink.write([make_message(topic="ok/1"), make_message(topic="no/1"), make_message(topic="ok/2")])
            await until(got, 2)

    assert [failure.index for failure in outcome.failed] == [1]
    assert isinstance(outcome.failed[0].error, Rejected)
    assert "no/1" in str(outcome.failed[0].error)


async def test_when_nothing_is_permitted_the_operator_must_act_and_nothing_is_rejected(tmp_path: Path) -> None:
    with with_access(tmp_path / "broker", "topic read #\n") as broker:
        async with opened(broker) as sink:
            failures = (await sink.write(make_messages([b"1", b"2"]))).failed

    assert all(isinstance(failure.error, Unauthorized) for failure in failures)
    assert len(failures) == 2


async def test_topics_that_mqtt_does_not_allow_are_rejected_alone(broker: Mosquitto) -> None:
    topics = ["a", "a/+", "", "$SYS/x", "a\x01", "\U0010ffff", "b"]
    async with consumer(broker) as got, opened(broker) as sink:
        failures = (await sink.write([make_message(topic=topic, sequence=place) for place, topic in enumerate(topics)])).failed
        await until(got, 2)

    assert [failure.index for failure in failures] == [1, 2, 3, 4, 5]
    assert all(isinstance(failure.error, Rejected) for failure in failures)


async def test_a_property_that_would_end_the_connection_is_rejected_alone(broker: Mosquitto) -> None:
    bad = make_message(properties=Properties(user=(("a", "b\x01"),)))
    async with opened(broker) as sink:
        failures = (await sink.write([make_message(), bad, make_message()])).failed

    assert [failure.index for failure in failures] == [1]
    assert isinstance(failures[0].error, Rejected)


async def test_a_message_over_the_broker_s_limit_is_known_by_its_size_or_rejected(tmp_path: Path) -> None:
    with Mosquitto(tmp_path / "broker", ["max_packet_size 5000"]) as broker:
        async with opened(broker) as sink:
            limit = sink.limits.max_message_bytes
            assert limit is not None
            assert sink.size_of(make_message(b"x" * 5000)) > limit
            assert not (await sink.write([make_message(b"x" * 4000)])).failed


async def test_wrong_credentials_and_a_closed_port_are_distinguished(tmp_path: Path) -> None:
    folder = tmp_path / "broker"
    folder.mkdir()
    subprocess.run(["mosquitto_passwd", "-b", "-c", folder / "passwords", "edge", "right"], check=True)
    with Mosquitto(folder, [f"password_file {folder / 'passwords'}"], anonymous=False) as broker:
        for protocol in ("5", "3.1.1"):
            with pytest.raises(Unauthorized, match=r"(?i)not authori[sz]ed") as caught:
                async with opened(broker, username="edge", password="wr0ng", protocol=protocol):
                    pass
            assert "wr0ng" not in str(caught.value)
        async with opened(broker, url=f"mqtt://edge:right@127.0.0.1:{broker.port}"):
            pass
    with pytest.raises(Unavailable, match="refused") as caught_too:
        async with opened(broker):
            pass
    assert not isinstance(caught_too.value, Unauthorized)


OLD_BROKER = """
import asyncio
async def serve(reader, writer):
    while True:
        try:
            kind, length = await reader.readexactly(2)
        except asyncio.IncompleteReadError:
            return writer.close()
        body = await reader.readexactly(length)
        if kind == 0x10 and body[6] != 4:
            return writer.close()
        if kind == 0x10:
            writer.write(b"\\x20\\x02\\x00\\x00")
        elif kind == 0x32:
            writer.write(b"\\x40\\x02" + body[2 + body[1]:][:2])
async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("answer", "config", "said"),
    [
        (b"\x20\x05\x00\x00\x02\x24\x00", {}, "set `qos: 0`"),
        (b"\x20\x05\x00\x00\x02\x24\x01", {"qos": 2}, "set `qos: 1`"),
        (b"\x20\x05\x00\x00\x02\x25\x00", {"retain": "same"}, "set `retain: never`"),
    ],
)
async def test_a_capability_that_the_broker_lacks_is_reported_instead_of_tried(
    broker: Mosquitto, answer: bytes, config: dict[str, Any], said: str
) -> None:
    """The message would end the connection at once, again and again."""
    async with rewriting(broker.port) as proxy:
        proxy.from_server = lambda data: answer if data[0] == 0x20 else data
        with pytest.raises(Unauthorized, match=said):
            async with opened(broker, url=f"mqtt://127.0.0.1:{proxy.port}", **config):
                pass


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


async def test_a_broker_that_hangs_up_on_version_5_gets_the_older_one() -> None:
    """Some old brokers close the connection without a reason."""
    with subprocess.Popen([sys.executable, "-c", OLD_BROKER], stdout=subprocess.PIPE) as process:  # noqa: ASYNC220  (no other task runs)
        try:
            assert process.stdout is not None
            port = int(process.stdout.readline())
            async with MqttSink.open(MqttSinkConfig(url=f"127.0.0.1:{port}"), CONTEXT) as sink:
                assert not (await sink.write([make_message(b"1", topic="a")])).failed
            with pytest.raises(Unavailable, match="hangs up without an answer"):
                async with MqttSink.open(MqttSinkConfig(url=f"127.0.0.1:{port}", protocol="5"), CONTEXT):
                    pass
        finally:
            process.send_signal(signal.SIGKILL)


async def test_a_look_beside_a_running_sink_of_the_same_client_id_does_not_end_its_connection(broker: Mosquitto) -> None:
    config = MqttSinkConfig.model_validate({"url": broker.url, "client_id": "bridge"})
    async with MqttSink.open(config, CONTEXT) as running:
        await running.write([make_message(sequence=1)])
        async with MqttSink.open(config, SinkContext("out", "edge-1", "check", probe=True)):
            pass
        await running.write([make_message(sequence=2)])
    assert broker.log.count(" as bridge (") == 1, "the running sink has connected once"
    assert broker.log.count(" as bridge-check (") == 1
