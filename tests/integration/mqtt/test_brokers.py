"""The MQTT source with many kinds of brokers: capabilities, versions, and refusals.

Covers: edgerouter.mqtt.abilities, edgerouter.mqtt.codes, edgerouter.mqtt.version, edgerouter.sources.mqtt.broker,
edgerouter.sources.mqtt.probe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import structlog

from edgerouter import SinkContext, Unavailable
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from support.certificates import Authority
from support.mosquitto import Mosquitto
from support.mqtt_packets import Connect
from support.mqtt_packets import publish as packet_of
from support.mqtt_source import Opened, eventually, opened
from support.strict_broker import strict_broker


async def test_a_shared_subscription_at_a_broker_without_them_is_refused_and_not_silent() -> None:
    async with strict_broker() as broker:
        broker.connack_properties = b"\x2a\x00"
        async with opened(broker.url, "a", share="g") as source:
            assert "no shared subscriptions" in await source.disconnected()
        assert broker.subscribed == []


async def test_a_wildcard_at_a_broker_without_them_is_refused_and_the_rest_is_subscribed() -> None:
    async with strict_broker() as broker:
        broker.connack_properties = b"\x28\x00"
        async with opened(broker.url, "a/#", "b") as source:
            reason = await source.disconnected()
        assert "'a/#'" in reason
        assert "wildcards" in reason
        assert [[name for name, _ in filters] for filters in broker.subscribed] == [["b"]]


@pytest.mark.parametrize(
    ("properties", "config", "said"),
    [
        (b"\x24\x00", {}, "QoS 0 at most"),
        (b"\x11\x00\x00\x00\x0a", {}, "keeps our session for 10 s only"),
        (b"\x25\x00", {"status_topic": "s"}, "keeps no retained messages"),
        (b"\x12\x00\x05other", {}, "uses the client id 'other'"),
    ],
)
async def test_what_a_broker_cannot_do_is_said_and_the_source_works_without_it(
    properties: bytes, config: dict[str, Any], said: str
) -> None:
    async with strict_broker() as broker:
        broker.connack_properties = properties
        with structlog.testing.capture_logs() as logs:
            async with opened(broker.url, "a", **config) as source:
                await source.connected()
        assert any(said in line["event"] for line in logs)
        for each in broker.published:
            assert (each.retain, each.qos) == (False, 1)


async def test_the_keep_alive_that_a_broker_asks_for_is_kept() -> None:
    async with strict_broker() as broker:
        broker.connack_properties = b"\x13\x00\x01"
        async with opened(broker.url, "a", keepalive=600) as source:
            await source.connected()
            await eventually(lambda: broker.pings >= 2)


async def test_a_shared_subscription_that_stays_silent_with_3_1_1_is_warned_of_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerouter.sources.mqtt.broker.QUIET", 0.0)
    async with strict_broker() as broker:
        with structlog.testing.capture_logs() as logs:

            def warned() -> int:
                return sum("shared subscription" in line["event"] for line in logs)

            async with opened(broker.url, "a", share="g", protocol="3.1.1", keepalive=1) as source:
                await source.connected()
                await eventually(lambda: warned() > 0)
                await asyncio.sleep(0.5)
                assert warned() == 1


def hangs_up_on(version: int, code: int = 0) -> Callable[[Connect], int | None]:
    return lambda connect: None if connect.version == version else code


async def test_auto_keeps_3_1_1_after_a_3_1_1_broker_has_refused_and_remembers_it_over_restarts(tmp_path: Path) -> None:
    async with strict_broker() as broker:
        broker.admit = hangs_up_on(5, 4)
        async with opened(broker.url, "a", state=tmp_path) as source:
            await eventually(lambda: sum(each.version == 4 for each in broker.attempts) >= 3)
            assert "Bad user name or password" in await source.disconnected()
        assert [each.version for each in broker.attempts[:3]] == [5, 5, 4]
        assert {each.version for each in broker.attempts[3:]} == {4}
        broker.attempts.clear()
        broker.admit = hangs_up_on(5)
        async with opened(broker.url, "a", state=tmp_path) as source:
            await source.connected()
        assert [each.version for each in broker.attempts] == [4]


async def test_a_broker_that_speaks_only_3_1_1_cannot_keep_the_mark_of_live_messages_and_the_log_says_so() -> None:
    async with strict_broker() as broker:
        broker.admit = hangs_up_on(5)
        with structlog.testing.capture_logs() as logs:
            async with opened(broker.url, "a", retained="as_published") as source:
                await source.connected()
    assert any("marks only the messages that it replays" in line["event"] for line in logs)


async def test_auto_never_falls_back_from_a_broker_that_spoke_version_5_because_it_hangs_up(tmp_path: Path) -> None:
    async with strict_broker() as broker:
        async with opened(broker.url, "a", state=tmp_path) as source:
            await source.connected()
        broker.admit = lambda _: None
        async with opened(broker.url, "a", state=tmp_path):
            await eventually(lambda: len(broker.attempts) >= 6)
        assert {each.version for each in broker.attempts} == {5}


async def probed(url: str, *topics: str, **config: Any) -> Opened:
    """Probe as `check --connect` does; return the source's reports."""
    async with opened(url, *topics, probe=True, **config) as source, asyncio.timeout(3):
        pull = asyncio.ensure_future(anext(source.source.deliveries()))
        try:
            await asyncio.wait((pull, asyncio.ensure_future(source.connected())), return_when=asyncio.FIRST_COMPLETED)
            if pull.done():
                pull.result()
        finally:
            pull.cancel()
    return source


@pytest.mark.parametrize(
    ("hangs_up", "code", "said"), [(5, 4, "Bad user name"), (4, 134, "Bad user name"), (5, 5, "Not authorized")]
)
async def test_a_look_says_within_3_s_that_the_password_is_wrong(hangs_up: int, code: int, said: str) -> None:
    async with strict_broker() as broker:
        broker.admit = hangs_up_on(hangs_up, code)
        with pytest.raises(Unavailable, match=said):
            await probed(broker.url, "a", reconnect={"first_delay": 20, "max_delay": 30})


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_look_subscribes_really_and_takes_it_back(protocol: str) -> None:
    async with strict_broker() as broker:
        assert (await probed(broker.url, "a", "b/#", share="g", protocol=protocol, client_id="router")).told == [(True, "")]
        assert broker.subscribed == [[("$share/g-check/a", 0), ("$share/g-check/b/#", 0)]]
        assert broker.unsubscribed == ["$share/g-check/a", "$share/g-check/b/#"]
        assert [each.client_id for each in broker.attempts] == ["router-check"]
        broker.subscribe_codes = lambda filters: [0 if name.endswith("/a") else 128 for name, _ in filters]
        with pytest.raises(Unavailable, match=r"refuses the subscription '\$share/g-check/b/#'"):
            await probed(broker.url, "a", "b/#", share="g", protocol=protocol)


async def test_a_look_takes_no_message() -> None:
    async with strict_broker() as broker:
        broker.greeting = packet_of("t", b"x", 1, 7, properties=b"")
        source = await probed(broker.url, "t")
        assert await source.rest() == []
        assert broker.clients[0].answers == []


async def test_a_packet_id_in_use_is_answered_with_the_next_one_at_once() -> None:
    async with strict_broker() as broker:
        broker.subscribe_codes = lambda filters: [0x91 if len(broker.subscribed) < 5 else 1] * len(filters)
        async with opened(broker.url, "a", "b", reconnect={"first_delay": 30, "max_delay": 30}) as source:
            await asyncio.wait_for(source.connected(), 5)
        assert len(broker.subscribed) == 5
        assert len(set(broker.subscribe_ids)) == 5


async def test_a_code_that_mqtt_does_not_define_refuses_a_connection_with_its_number() -> None:
    async with strict_broker() as broker:
        broker.admit = lambda _: 0xF0
        async with opened(broker.url, "a", protocol="5") as source:
            assert "refuses the connection: Unspecified error (reason code 0xF0)" in await source.disconnected()
        assert "(reason code 0xF0)" in await sink_error(broker.url, protocol="5")


async def test_a_code_that_mqtt_does_not_define_ends_a_connection_with_its_number() -> None:
    async with strict_broker() as broker, opened(broker.url, "a", reconnect={"first_delay": 30, "max_delay": 30}) as source:
        await source.connected()
        broker.clients[0].send(b"\xe0\x02\xf1\x00")
        assert "the broker disconnected: Unspecified error (reason code 0xF1)" in await source.disconnected()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
async def test_a_subscription_answered_with_a_code_that_mqtt_does_not_define_is_refused_or_taken_by_its_range(
    protocol: str,
) -> None:
    async with strict_broker() as broker:
        broker.subscribe_codes = lambda filters: [0x7F if name == "a" else 0xF2 for name, _ in filters]
        async with opened(broker.url, "a", "b", protocol=protocol) as source:
            reason = await source.disconnected()
        assert "'b'" in reason
        assert "'a'" not in reason


async def sink_error(url: str, **config: Any) -> str:
    with pytest.raises(Unavailable) as caught:
        async with MqttSink.open(MqttSinkConfig.model_validate({"url": url, **config}), SinkContext("o", "h", "5p")):
            pass
    return str(caught.value)


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
async def test_tls_spoken_to_a_plain_port_is_named(tmp_path: Path, protocol: str) -> None:
    with Mosquitto(tmp_path / "broker") as broker:
        url = f"mqtts://127.0.0.1:{broker.port}"
        async with opened(url, "a", protocol=protocol) as source:
            assert "does not speak TLS" in await source.disconnected()
        assert "does not speak TLS" in await sink_error(url, protocol=protocol)


@pytest.mark.parametrize("protocol", ["auto", "5", "3.1.1"])
async def test_plain_mqtt_spoken_to_a_tls_port_is_named(tmp_path: Path, protocol: str) -> None:
    authority = Authority(tmp_path / "ca")
    certificate = authority.issue("127.0.0.1")
    listener = [f"cafile {authority.certificate}", f"certfile {certificate.certificate}", f"keyfile {certificate.key}"]
    with Mosquitto(tmp_path / "broker", listener=listener) as broker:
        url = f"mqtt://127.0.0.1:{broker.port}"
        async with opened(url, "a", protocol=protocol) as source:
            assert "the port speaks TLS: write mqtts://" in await source.disconnected()
        assert "the port speaks TLS: write mqtts://" in await sink_error(url, protocol=protocol)
