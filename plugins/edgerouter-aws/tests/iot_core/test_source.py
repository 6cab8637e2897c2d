"""Messages of a persistent session are acknowledged once they are stored.

Covers also: edgerouter_aws.iot_core.source_config.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import Delivery, Properties, SourceContext, Unauthorized
from edgerouter_aws.iot_core.source import IotCoreSource
from edgerouter_aws.iot_core.source_config import IotCoreSourceConfig
from support.aws.iot_core import IotCoreServer
from support.mqtt_packets import publish
from support.mqtt_source import eventually

CONTEXT = SourceContext("cloud", "edge-1", "5p00l", flush_now=lambda: None, dropped=lambda *_: None, connected=lambda *_: None)


@asynccontextmanager
async def opened(iot_core: IotCoreServer, fields: dict[str, Any], **more: Any) -> AsyncIterator[AsyncIterator[Delivery]]:
    config = IotCoreSourceConfig.model_validate({"topics": ["cmd/edge-7/#"], **fields, **more})
    async with IotCoreSource.open(config, CONTEXT) as source:
        await eventually(lambda: bool(iot_core.core.subscribed))
        yield source.deliveries()


@pytest.mark.parametrize("way", ["mutual", "signed"])
async def test_a_command_with_its_properties_is_acknowledged_once_it_is_stored(
    iot_core: IotCoreServer, mutual: dict[str, Any], signed: dict[str, Any], way: str
) -> None:
    async with opened(iot_core, mutual if way == "mutual" else signed, topic="cloud/{topic[2:]}") as deliveries:
        client = iot_core.core.clients[0]
        client.send(
            publish("cmd/edge-7/valve", b"open", 1, 9, properties=b"\x08\x00\x04back\x09\x00\x01\xff\x26\x00\x01a\x00\x01b")
        )
        delivery = await anext(deliveries)
        (message,) = delivery.messages
        assert (message.topic, message.payload, message.qos) == ("cloud/valve", b"open", 1)
        assert message.properties == Properties((("a", "b"),), response_topic="back", correlation_data=b"\xff")
        assert client.answers == []
        delivery.acknowledge()
        await eventually(lambda: client.answers == [(0x40, 9)])
    connect = iot_core.core.attempts[0]
    assert not connect.clean
    assert connect.properties == b"\x11\x00\x01\x51\x80\x21\x00\x64"
    assert iot_core.core.subscribed == [[("cmd/edge-7/#", 1)]]


async def test_a_message_of_this_router_is_acknowledged_and_does_not_circle(
    iot_core: IotCoreServer, mutual: dict[str, Any]
) -> None:
    async with opened(iot_core, mutual) as deliveries:
        client = iot_core.core.clients[0]
        client.send(publish("cmd/edge-7/a", b"own", 1, 1, properties=b"\x26\x00\x0dedgerouter-id\x00\x075p00l-1"))
        client.send(publish("cmd/edge-7/a", b"another's", 1, 2, properties=b""))
        delivery = await anext(deliveries)
        assert [message.payload for message in delivery.messages] == [b"another's"]
        await eventually(lambda: client.answers == [(0x40, 1)])


async def test_a_refused_subscription_ends_the_deliveries_with_the_reason(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    iot_core.core.subscribe_codes = lambda filters: [0x87 for _ in filters]
    async with opened(iot_core, mutual) as deliveries:
        with pytest.raises(Unauthorized, match="refuses the subscription 'cmd/edge-7/#': Not authorized"):
            await anext(deliveries)


async def test_a_probe_subscribes_to_nothing(iot_core: IotCoreServer, mutual: dict[str, Any]) -> None:
    states: list[tuple[bool, str]] = []
    context = replace(CONTEXT, probe=True, connected=lambda *state: states.append(state))
    config = IotCoreSourceConfig.model_validate({"topics": ["#"], **mutual})
    async with IotCoreSource.open(config, context):
        pass
    assert states == [(True, "")]
    assert (iot_core.core.subscribed, iot_core.core.attempts[0].clean) == ([], True)
    assert iot_core.core.attempts[0].client_id.endswith("-check")


@pytest.mark.parametrize("topic", ["", "a/#/b", "a+", "x" * 257])
def test_what_is_not_a_topic_filter_is_refused(mutual: dict[str, Any], topic: str) -> None:
    with pytest.raises(ValidationError, match="is not a topic filter"):
        IotCoreSourceConfig.model_validate({"topics": [topic], **mutual})
