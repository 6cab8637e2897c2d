"""Refusals of a broker: a message is rejected alone, or an operator must act, tested with a real mosquitto.

Covers: edgerouter.mqtt.reasons, edgerouter.sinks.mqtt.sink.
"""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from edgerouter import Properties, Rejected, Unauthorized, Unavailable
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from edgerouter.testing import make_message, make_messages
from support.mosquitto import Mosquitto
from support.mqtt_sink import CONTEXT, consumer, opened, until
from support.rewriting import rewriting


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", ["max_queued_messages 0"]) as running:
        yield running


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
