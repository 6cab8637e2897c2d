"""Every call and every text of CloudSync, with the status that fits and with its own.

Covers: edgerouter_cloudsync.api.answers, edgerouter_cloudsync.api.calls, edgerouter_cloudsync.api.handler.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from edgerouter_cloudsync.api import answers
from support.cloudsync import Plant, plant
from support.mosquitto import Mosquitto, free_port
from support.mqtt_source import eventually

NAME = "broker.example"
LEGACY: dict[str, Any] = {"source": {"legacy_status": True}}
PUBLISH_KEYS = {"ServiceName": "", "RemoteTargetInfo": ""}


@asynccontextmanager
async def consumer(broker: Mosquitto, topic: str = "#") -> AsyncIterator[aiomqtt.Client]:
    async with aiomqtt.Client("127.0.0.1", broker.port) as client:
        await client.subscribe(topic, qos=1)
        yield client


async def latest(running: Plant, path: str, value: str) -> None:
    """Wait until a GET answers with a value."""
    async with asyncio.timeout(10):
        while (answer := await running.get(f"getsubscribedata/{path}")) != (200, {"Message": value}):
            assert answer[0] == 200, answer
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("content_type", ["text/plain", "application/json"])
async def test_publish_reaches_the_broker_and_the_answer_has_the_original_keys_and_text(
    broker: Mosquitto, listed: Mapping[str, Any], content_type: str
) -> None:
    body = '{"appid": "reader", "payload": "21.5", "topic": "home", "url": "broker.example"}'
    async with consumer(broker) as client, plant(**listed) as running:
        status, answer = await running.send("POST", "publish", data=body, headers={"Content-Type": content_type})
        message = await anext(aiter(client.messages))
    where = f"tcp://127.0.0.1:{broker.port}"
    assert (status, answer) == (200, {"Message": f"Data published successfully to Cloud{where}", **PUBLISH_KEYS})
    assert (str(message.topic), message.payload, message.qos, message.retain) == ("home", b"21.5", 1, False)


async def test_quality_and_retain_of_the_original_are_settable(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    async with plant(**listed, sink={"qos": 0, "retain": True}) as running:
        assert (await running.publish(NAME))[0] == 200
    async with consumer(broker) as client:
        message = await anext(aiter(client.messages))
    assert message.retain
    assert message.payload == b"21.5"


async def test_subscribe_and_get_in_both_forms_return_the_latest_value(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        answer = await running.subscribe(NAME, "home")
        assert answer == (200, {"Message": "Successfully subscribed to the topic home"})
        assert await running.get(f"getsubscribedata/{NAME}/home/reader") == (200, {"Message": ""})
        for value in ("1", "2"):
            await running.publish(NAME, value, "home")
        await latest(running, f"{NAME}/home/reader", "2")
        await latest(running, "home/reader", "2")


async def test_topics_with_levels_and_wildcards_can_be_read(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        for topic in ("plant/+/temperature", "plant/#", "plant/1/temperature"):
            assert (await running.subscribe(NAME, topic))[0] == 200
        await running.publish(NAME, "20", "plant/1/temperature")
        await latest(running, f"{NAME}/plant/1/temperature/reader", "20")
        await latest(running, f"{NAME}/plant%2F1%2Ftemperature/reader", "20")
        await running.publish(NAME, "30", "plant/2/temperature")
        await latest(running, f"{NAME}/plant/+/temperature/reader", "30")
        await latest(running, f"{NAME}/plant/%23/reader", "30")
        await latest(running, "plant/1/temperature/reader", "20")


async def test_subscriptions_and_values_survive_a_restart(broker: Mosquitto, listed: Mapping[str, Any], tmp_path: Path) -> None:
    async with plant(tmp_path / "state", **listed) as running:
        await running.subscribe(NAME, "home")
        await running.publish(NAME, "1", "home")
        await latest(running, "home/reader", "1")
    async with plant(tmp_path / "state", **listed) as running:
        assert await running.get(f"getsubscribedata/{NAME}/home/reader") == (200, {"Message": "1"})
        await eventually(lambda: not any(running.source.book.reasons.values()))
        await running.publish(NAME, "2", "home")
        await latest(running, "home/reader", "2")


async def test_subscriptions_survive_a_broker_that_restarts(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        await running.subscribe(NAME, "home")
        broker.kill()
        broker.start()
        async with asyncio.timeout(20):
            while (await running.get("subscriptions"))[1]["Subscriptions"][0]["connected"] is False:
                await asyncio.sleep(0.05)
            while (await running.publish(NAME, "2", "home"))[0] != 200:
                await asyncio.sleep(0.05)
        await latest(running, "home/reader", "2")


async def test_unsubscribe_disconnect_list_and_health(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    async with plant(**listed) as running:
        for topic in ("a", "b"):
            await running.subscribe(NAME, topic)
        await running.subscribe(NAME, "a", "other")
        status, answer = await running.get("subscriptions?appid=reader")
        assert (status, [each["topic"] for each in answer["Subscriptions"]]) == (200, ["a", "b"])
        status, answer = await running.get("health")
        assert answer["Brokers"] == [{"url": NAME, "waiting": 0, "reason": "", "subscribed": True}]
        fields = {"appid": "reader", "url": NAME}
        assert await running.post("unsubscribe", **fields, topic="a") == (
            200,
            {"Message": "Successfully unsubscribed from the topic a"},
        )
        assert (await running.post("unsubscribe", **fields, topic="a"))[0] == 404
        assert (await running.post("disconnect", **fields)) == (200, {"Message": f"Successfully disconnected from {NAME}"})
        assert (await running.post("disconnect", **fields))[0] == 404
        assert (await running.get("subscriptions"))[1]["Subscriptions"] == [
            {"appid": "other", "topic": "a", "url": NAME, "connected": True}
        ]
        await running.post("disconnect", appid="other", url=NAME)
        assert not running.source.book.connections, "a connection without subscriptions stays open"


OK = {"appid": "reader", "payload": "x", "topic": "home", "url": NAME}
ROWS: list[tuple[str, dict[str, Any], int, str]] = [
    *(("publish", {name: text for name, text in OK.items() if name != missing}, 400, answers.INVALID) for missing in OK),
    ("publish", {**OK, "payload": {"value": 1}}, 400, answers.INVALID),
    ("publish", {**OK, "url": f"tcp://{NAME}:1883"}, 400, answers.INVALID),
    ("publish", {**OK, "url": ""}, 400, answers.NO_BROKER),
    ("publish", {**OK, "topic": ""}, 400, answers.NO_TOPIC),
    ("publish", {**OK, "topic": "a/#"}, 400, answers.INVALID),
    ("publish", {**OK, "topic": "a\nb"}, 400, answers.INVALID),
    ("publish", {**OK, "topic": "x" * 2000}, 400, answers.INVALID),
    ("publish", {**OK, "appid": ""}, 400, answers.INVALID),
    ("publish", {**OK, "url": "elsewhere.example"}, 403, "The broker elsewhere.example is not allowed"),
    ("subscribe", {**OK, "topic": 1}, 400, answers.INVALID),
    ("subscribe", {**OK, "topic": "a#"}, 400, answers.INVALID),
    ("subscribe", {**OK, "topic": "$share/g/a"}, 400, answers.INVALID),
    ("subscribe", {**OK, "url": ""}, 400, answers.NO_BROKER),
    ("subscribe", {**OK, "url": "elsewhere.example"}, 403, "The broker elsewhere.example is not allowed"),
    ("unsubscribe", OK, 404, "Client is not subscribed to the topic home"),
    ("disconnect", {"appid": "reader", "url": ""}, 400, answers.NO_BROKER),
]


@pytest.mark.parametrize(("call", "fields", "status", "text"), ROWS)
async def test_a_wrong_request_gets_its_text_with_a_real_status_and_with_the_old_one(
    call: str, fields: dict[str, Any], status: int, text: str
) -> None:
    brokers: dict[str, Any] = {"brokers": {NAME: None}}
    async with plant(**brokers) as running:
        got = await running.post(call, **fields)
    assert (got[0], got[1]["Message"]) == (status, text)
    async with plant(**brokers, **LEGACY) as running:
        got = await running.post(call, **fields)
    assert (got[0], got[1]["Message"]) == (200, text)
    # CloudSync's handler puts them into every answer to `publish`, and into no other
    assert PUBLISH_KEYS.items() <= got[1].items() if call == "publish" else not PUBLISH_KEYS.keys() & got[1].keys()


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        (f"getsubscribedata/{NAME}/home/reader", 404, "Client is not subscribed to the topic home"),
        ("getsubscribedata/home/reader", 404, "Client is not subscribed to the topic home"),
        (f"getsubscribedata/{NAME}//reader", 400, answers.NO_TOPIC),
        ("getsubscribedata//reader", 400, answers.NO_TOPIC),
        ("getsubscribedata//home/reader", 400, answers.NO_BROKER),
        ("getsubscribedata/reader", 400, answers.NO_TOPIC),
    ],
)
async def test_a_get_without_a_subscription_gets_its_text(path: str, status: int, text: str) -> None:
    async with plant() as running:
        got = await running.get(path)
    assert (got[0], got[1]["Message"]) == (status, text)
    async with plant(**LEGACY) as running:
        assert await running.get(path) == (200, got[1])


@pytest.mark.parametrize("body", [b"", b"{", b"appid=1", b"\xff", b"[" * 100_000, b'{"payload": "\\ud800"}'])
async def test_a_body_that_is_not_json_is_refused_and_was_answered_with_503_and_no_body(body: bytes) -> None:
    async with plant() as running:
        status, answer = await running.send("POST", "publish", data=body)
    assert (status, answer["Message"]) == (400, answers.INVALID)
    async with plant(**LEGACY) as running:
        assert await running.send("POST", "publish", data=body) == (503, None)


async def test_a_body_that_is_not_an_object_is_refused() -> None:
    async with plant() as running:
        for body in (b"[]", b"1", b'"x"', b"null"):
            status, answer = await running.send("POST", "publish", data=body)
            assert (status, answer["Message"]) == (400, answers.INVALID)


async def test_an_api_that_is_switched_off_says_so_to_every_call() -> None:
    for more, status in (({}, 503), ({"legacy_status": True}, 200)):
        async with plant(source={"active": False, **more}) as running:
            assert await running.post("publish", **OK) == (status, {"Message": answers.NOT_ACTIVE, **PUBLISH_KEYS})
            assert await running.get("getsubscribedata/home/reader") == (status, {"Message": answers.NOT_ACTIVE})


async def test_a_broker_that_cannot_be_reached_is_an_error_to_subscribe_to_and_stored_for_in_publish() -> None:
    """CloudSync answered both with `Error Connecting MQTT`, and lost the data."""
    port = free_port()
    brokers: dict[str, Any] = {"brokers": {NAME: {"url": f"mqtt://127.0.0.1:{port}"}}}
    async with plant(**brokers) as running:
        status, answer = await running.subscribe(NAME, "home")
        assert status == 502
        assert answer["Message"].startswith("Error Connecting MQTT -> ")
        assert (await running.get("subscriptions"))[1]["Subscriptions"] == []
        status, answer = await running.publish(NAME)
        assert status == 202
        assert answer["Message"] == f"Data stored, will be published to Cloudtcp://127.0.0.1:{port}"
        assert "cannot be reached" in answer["Detail"]
    async with plant(**brokers, **LEGACY) as running:
        assert (await running.publish(NAME))[0] == 200
        assert (await running.subscribe(NAME, "home"))[0] == 200


async def test_data_that_were_stored_are_published_once_the_broker_is_there(tmp_path: Path) -> None:
    """CloudSync dropped them, and answered with an empty text."""
    port = free_port()
    async with plant(brokers={NAME: {"url": f"mqtt://127.0.0.1:{port}"}}) as running:
        assert (await running.publish(NAME, "kept", "home"))[0] == 202
        with Mosquitto(tmp_path / "late", port=port) as late:
            async with consumer(late) as client, asyncio.timeout(20):
                assert (await anext(aiter(client.messages))).payload == b"kept"


async def test_data_that_the_broker_refuses_are_an_error_and_a_dead_letter(tmp_path: Path) -> None:
    rules = tmp_path / "rules"
    rules.write_text("topic write open\n")
    with Mosquitto(tmp_path / "broker", [f"acl_file {rules}"]) as broker:
        async with plant(brokers={NAME: {"url": broker.url}}) as running:
            status, answer = await running.publish(NAME, topic="closed")
            assert status == 502
            assert answer["Message"].startswith("Error in publishing the data ")
            assert "Not authorized" in running.dead_letters[0]
            assert (await running.publish(NAME, topic="open"))[0] == 200


async def test_nothing_is_lost_where_the_spool_takes_nothing() -> None:
    async with plant(brokers={NAME: None}, source={"answer_within": 0.1}) as running:
        running.stores.clear()
        status, answer = await running.publish(NAME)
    assert status == 503
    assert answer["Message"].startswith("Error in publishing the data the spool takes nothing now")


async def test_unknown_calls_and_methods_are_named() -> None:
    async with plant() as running:
        assert (await running.get("nothing"))[0] == 404
        assert (await running.get("publish"))[0] == 405
        assert (await running.post("health"))[0] == 405


async def test_a_request_that_is_too_large_is_refused_before_it_is_read() -> None:
    async with plant(source={"max_body_bytes": 1024}) as running:
        assert (await running.post("publish", **{**OK, "payload": "x" * 2000}))[0] == 413

        async def chunks() -> AsyncIterator[bytes]:
            for _ in range(100):
                yield b"x" * 100

        assert (await running.send("POST", "publish", data=chunks()))[0] == 413


async def test_more_subscriptions_than_allowed_are_refused(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    async with plant(**listed, source={"max_subscriptions": 1}) as running:
        assert (await running.subscribe(NAME, "a"))[0] == 200
        assert (await running.subscribe(NAME, "a"))[0] == 200
        assert (await running.subscribe(NAME, "b"))[0] == 503
