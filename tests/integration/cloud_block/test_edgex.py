"""The environment of EdgeX's application service exports the events of its message bus, and no event is lost on the way."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import aiomqtt
from aiohttp import web

from support.cloud_block import environment_router, publish
from support.http_service import http_service
from support.mosquitto import Mosquitto
from support.mqtt_source import eventually

FUNCTIONS = "WRITABLE_PIPELINE_FUNCTIONS_"
EVENT_TOPIC = "edgex/events/device/device-virtual/Random-Integer/pump/Int8"
EVENTS = [{"deviceName": "pump", "readings": [{"value": str(number)}]} for number in range(20)]
ON_THE_BUS = [
    json.dumps({"apiVersion": "v3", "payload": {"apiVersion": "v3", "event": event}, "contentType": "application/json"}).encode()
    for event in EVENTS
]


def mqtt_send(broker: Mosquitto) -> dict[str, str]:
    """Return the variables that a user of `mqtt-export` 1.3 has set."""
    return {
        "EDGEX_PROFILE": "mqtt-export",
        f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_ADDRESS": "127.0.0.1",
        f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_PORT": str(broker.port),
        f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_TOPIC": "plant-1/events",
        f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_PUBLISHER": "plant-1",
        f"{FUNCTIONS}MQTTSEND_PARAMETERS_PERSISTONERROR": "true",
        "WRITABLE_STOREANDFORWARD_ENABLED": "true",
    }


async def test_events_are_exported_over_mqtt_and_http_without_their_envelopes(broker: Mosquitto, tmp_path: Path) -> None:
    posted: list[tuple[object, str]] = []

    async def take(request: web.Request) -> web.Response:
        posted.append((await request.json(), request.content_type))
        return web.Response()

    bus = {"MESSAGEBUS_HOST": "127.0.0.1", "MESSAGEBUS_PORT": str(broker.port), "MESSAGEBUS_TYPE": "mqtt"}
    with Mosquitto(tmp_path / "cloud") as cloud:
        async with http_service(take) as url, aiomqtt.Client("127.0.0.1", cloud.port, identifier="cloud") as consumer:
            await consumer.subscribe("plant-1/#", qos=1)
            http = {f"{FUNCTIONS}HTTPPOSTJSON_PARAMETERS_URL": url}
            async with environment_router(tmp_path / "router", mqtt_send(cloud), bus, http) as router:
                await router.start()
                await publish(broker.port, ON_THE_BUS, topic=EVENT_TOPIC)
                async with asyncio.timeout(30):
                    messages = [await anext(consumer.messages) for _ in EVENTS]
                    await eventually(lambda: len(posted) == len(EVENTS))
                assert [(str(message.topic), json.loads(message.payload), message.qos) for message in messages] == [
                    ("plant-1/events", event, 1) for event in EVENTS
                ]
                assert posted == [(event, "application/json") for event in EVENTS]
                code, told = await router.answer("check")
                assert code == 0
                assert "WRITABLE_STOREANDFORWARD_ENABLED is not needed" in told
                assert await router.stop() == 0


async def test_events_wait_for_a_broker_that_is_away_over_a_restart(broker: Mosquitto, tmp_path: Path) -> None:
    """Without a database beside it, as EdgeX's store and forward needs."""
    cloud = Mosquitto(tmp_path / "cloud")
    subscriber = aiomqtt.Client("127.0.0.1", cloud.port, identifier="cloud", clean_session=False)
    with cloud:
        async with subscriber as consumer:
            await consumer.subscribe("plant-1/#", qos=1)
    bus = {"MESSAGEBUS_HOST": "127.0.0.1", "MESSAGEBUS_PORT": str(broker.port)}
    async with environment_router(tmp_path / "router", mqtt_send(cloud), bus) as router:
        await router.start()
        await publish(broker.port, ON_THE_BUS, topic=EVENT_TOPIC)
        await router.kill()
        await router.start()
        with cloud:
            async with (
                asyncio.timeout(30),
                aiomqtt.Client("127.0.0.1", cloud.port, identifier="cloud", clean_session=False) as consumer,
            ):
                payloads = [json.loads((await anext(consumer.messages)).payload) for _ in EVENTS]
        assert payloads == EVENTS
