"""The IoT Core sink stays within the limits of one connection, on every way in."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from edgerouter import Properties, Rejected, Unauthorized
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_aws.iot_core.config import IotCoreConfig
from edgerouter_aws.iot_core.signing import signed_path
from edgerouter_aws.iot_core.sink import IotCoreSink
from support.aws.iot_core import ENDPOINT, IotCoreServer, user_properties


async def test_a_device_connects_by_mutual_tls_and_names_the_endpoint(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    async with IotCoreSink.open(IotCoreConfig.model_validate(mutual), make_context()) as sink:
        assert not (await sink.write([make_message(b"1")])).failed
    assert iot_core.core.server_names == [ENDPOINT]
    assert iot_core.core.attempts[0].client_id.startswith("edgerouter-")


async def test_port_443_is_shared_by_the_name_of_the_protocol(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    on_443 = {**mutual, "port": 443, "address": f"127.0.0.1:{iot_core.port(1)}"}
    async with IotCoreSink.open(IotCoreConfig.model_validate(on_443), make_context()) as sink:
        assert not (await sink.write([make_message(b"1")])).failed


async def test_credentials_sign_the_request_for_a_websocket(iot_core: IotCoreServer, signed: dict[str, Any]) -> None:
    async with IotCoreSink.open(IotCoreConfig.model_validate(signed), make_context()) as sink:
        assert not (await sink.write([make_message(b"1")])).failed
    assert iot_core.bridge is not None
    assert "X-Amz-Security-Token=token%2Fthat%2Bstays%3Dsecret" in iot_core.bridge.requests[0]


async def test_wrong_credentials_are_unauthorized_and_not_shown(iot_core: IotCoreServer, signed: dict[str, Any]) -> None:
    config = IotCoreConfig.model_validate({**signed, "secret_access_key": "wr0ng"})
    with pytest.raises(Unauthorized, match="opens no WebSocket") as refused:
        async with IotCoreSink.open(config, make_context()):
            pass
    assert "wr0ng" not in str(refused.value)


def test_a_request_is_signed_as_the_documentation_says() -> None:
    """The service of these tests verifies the signature itself."""
    now = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    path = signed_path(ENDPOINT, "eu-west-1", now, access_key="AKID", secret_key="secret", token=None)
    assert path.startswith(
        "/mqtt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKID%2F20260102%2Feu-west-1%2Fiotdevicegateway%2Faws4_request"
        "&X-Amz-Date=20260102T030405Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
    )
    assert len(path.rpartition("=")[2]) == 64


async def test_no_more_than_100_messages_a_second_and_in_flight_are_sent(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    iot_core.core.delay = 0.3
    async with IotCoreSink.open(IotCoreConfig.model_validate(mutual), make_context()) as sink:
        assert not (await sink.write(make_messages([b"%d" % number for number in range(150)]))).failed
    assert 10 < iot_core.core.widest <= 100


async def test_what_does_not_go_out_in_time_is_untried(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    from dataclasses import replace

    async with IotCoreSink.open(IotCoreConfig.model_validate(mutual), replace(make_context(), timeout=1)) as sink:
        batch = make_messages([b"%d" % number for number in range(300)])
        outcome = await sink.write(batch)
    assert not outcome.failed
    assert 0 < len(outcome.untried) < 290
    assert len(iot_core.core.messages) == 300 - len(outcome.untried)


async def test_basic_ingest_reaches_a_rule_and_its_levels_do_not_count(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    config = IotCoreConfig.model_validate({**mutual, "topic": "$aws/rules/plant_data/{topic}"})
    async with IotCoreSink.open(config, make_context()) as sink:
        outcome = await sink.write([make_message(topic="a/b/c/d/e/f/g/h"), make_message(topic="a/b/c/d/e/f/g/h/i")])
    assert [each.topic for each in iot_core.core.messages] == ["$aws/rules/plant_data/a/b/c/d/e/f/g/h"]
    assert [(failure.index, type(failure.error)) for failure in outcome.failed] == [(1, Rejected)]


@pytest.mark.parametrize("topic", ["a/" * 8 + "b", "x" * 257, "é" * 129, "$aws/things/x", "a/+", "a\x01", ""])
async def test_a_topic_that_the_service_does_not_take_rejects_its_message_alone(
    iot_core: IotCoreServer, mutual: dict[str, Any], topic: str
) -> None:
    async with IotCoreSink.open(IotCoreConfig.model_validate(mutual), make_context()) as sink:
        outcome = await sink.write([make_message(topic="a"), make_message(topic=topic), make_message(topic="b")])
    assert [(failure.index, type(failure.error)) for failure in outcome.failed] == [(1, Rejected)]
    assert [each.topic for each in iot_core.core.messages] == ["a", "b"]


async def test_properties_travel_with_mqtt_5_and_are_bounded(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    small = make_message(properties=Properties((("site", "north"),), "text/csv"), sequence=7)
    many = make_message(properties=Properties((("a", "x" * 9000),)))
    long = make_message(properties=Properties(content_type="x" * 300))
    async with IotCoreSink.open(IotCoreConfig.model_validate(mutual), make_context()) as sink:
        outcome = await sink.write([small, many, long])
    assert [type(failure.error) for failure in outcome.failed] == [Rejected, Rejected]
    assert user_properties(iot_core.core.messages[0].properties) == {"site": "north", "edgerouter-id": small.id}


async def test_an_older_device_may_speak_3_1_1(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    config = IotCoreConfig.model_validate({**mutual, "protocol": "3.1.1", "qos": 0, "retain": "always"})
    async with IotCoreSink.open(config, make_context()) as sink:
        await sink.write([make_message()])
        assert not (await sink.write([make_message()])).failed
    assert {(each.qos, each.retain, each.properties) for each in iot_core.core.published} == {(0, True, b"")}
