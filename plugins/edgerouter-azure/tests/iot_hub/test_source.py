"""Cloud-to-device messages are completed once they are stored, over the connection that the sink uses too.

Covers also: edgerouter_azure.iot_hub.source_config.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from edgerouter import Delivery, Properties, SourceContext
from edgerouter.testing import make_context, make_message
from edgerouter_azure.iot_hub.config import IotHubConfig
from edgerouter_azure.iot_hub.sink import IotHubSink
from edgerouter_azure.iot_hub.source import IotHubSource
from edgerouter_azure.iot_hub.source_config import IotHubSourceConfig
from support.azure.iot_hub import DEVICE, IotHub
from support.mqtt_packets import publish
from support.mqtt_source import eventually


def context(states: list[tuple[bool, str]] | None = None) -> SourceContext:
    return SourceContext(
        "cloud",
        "edge-1",
        "5p00l",
        flush_now=lambda: None,
        dropped=lambda *_: None,
        connected=lambda *state: states.append(state) if states is not None else None,
    )


@asynccontextmanager
async def opened(hub: IotHub, fields: dict[str, Any], **more: Any) -> AsyncIterator[AsyncIterator[Delivery]]:
    states: list[tuple[bool, str]] = []
    async with IotHubSource.open(IotHubSourceConfig.model_validate({**fields, **more}), context(states)) as source:
        await eventually(lambda: (True, "") in states)
        yield source.deliveries()


async def test_a_message_keeps_its_properties_and_is_completed_once_it_is_stored(hub: IotHub, fields: dict[str, Any]) -> None:
    async with opened(hub, fields, topic="cloud/{attribute[kind]}") as deliveries:
        hub.send(b"on", "%24.mid=1&%24.cid=c-1&%24.ct=text%2Fplain&kind=valve&response_topic=back%2Fhere&a=%C3%BC", 7)
        delivery = await anext(deliveries)
        (message,) = delivery.messages
        assert (message.topic, message.payload, message.qos) == ("cloud/valve", b"on", 1)
        assert message.properties == Properties((("kind", "valve"), ("a", "ü")), "text/plain", "back/here", b"c-1")
        assert hub.clients[-1].answers == []
        delivery.acknowledge()
        await eventually(lambda: hub.clients[-1].answers == [(0x40, 7)])
    assert hub.subscribed == [[(f"devices/{DEVICE}/messages/devicebound/#", 1), ("$iothub/methods/POST/#", 0)]]


async def test_without_properties_the_topic_is_the_device(hub: IotHub, fields: dict[str, Any]) -> None:
    async with opened(hub, fields) as deliveries:
        hub.send(b"on", "", 1)
        (message,) = (await anext(deliveries)).messages
    assert (message.topic, message.properties) == (DEVICE, None)


async def test_a_direct_method_is_answered_with_501_and_stored_nowhere(hub: IotHub, fields: dict[str, Any]) -> None:
    async with opened(hub, fields) as deliveries:
        hub.clients[-1].send(publish("$iothub/methods/POST/reboot/?$rid=1f", b"{}"))
        hub.clients[-1].send(publish("$iothub/methods/POST/x/?$rid=a/b", b"{}"))
        await eventually(lambda: bool(hub.published))
        hub.send(b"after", "", 2)
        (message,) = (await anext(deliveries)).messages
    assert message.payload == b"after"
    assert [(each.topic, each.qos) for each in hub.published] == [("$iothub/methods/res/501/?$rid=1f", 0)]


async def test_sink_and_source_share_one_connection_and_renew_it_together(hub: IotHub, fields: dict[str, Any]) -> None:
    """A hub would end the connection of the one for that of the other, for ever."""
    fields = {**fields, "token_lifetime": 2}
    async with (
        IotHubSink.open(IotHubConfig.model_validate(fields), make_context()) as sink,
        opened(hub, fields) as deliveries,
    ):
        stored = []
        for number in range(1, 50):
            assert not (await sink.write([make_message(b"%d" % number, sequence=number)])).failed
            hub.send(b"%d" % number, "", number)
            delivery = await asyncio.wait_for(anext(deliveries), 10)
            stored += [message.payload for message in delivery.messages]
            delivery.acknowledge()
            await asyncio.sleep(0.05)
        assert stored == [b"%d" % number for number in range(1, 50)]
    assert [body for _, body in hub.messages] == stored
    assert len(hub.attempts) >= 3
    assert [each.clean for each in hub.attempts] == [True] + [False] * (len(hub.attempts) - 1)


async def test_a_lost_connection_is_made_anew_and_what_was_not_stored_comes_again(hub: IotHub, fields: dict[str, Any]) -> None:
    async with opened(hub, fields) as deliveries:
        hub.send(b"1", "", 1)
        first = await anext(deliveries)
        hub.clients[-1].writer.transport.abort()
        await eventually(lambda: len(hub.clients) == 2)
        first.acknowledge()  # of the connection that is gone
        hub.send(b"1", "", 1)
        second = await anext(deliveries)
        second.acknowledge()
        await eventually(lambda: hub.clients[-1].answers == [(0x40, 1)])
    assert hub.clients[0].answers == []


async def test_more_than_the_bound_ends_the_connection_and_the_hub_keeps_the_rest(hub: IotHub, fields: dict[str, Any]) -> None:
    async with opened(hub, fields, max_unacknowledged=2) as deliveries:
        for number in (1, 2, 3):
            hub.send(b"x", "", number)
        await eventually(hub.clients[0].gone.is_set)
        assert len((await anext(deliveries)).messages) == 2
