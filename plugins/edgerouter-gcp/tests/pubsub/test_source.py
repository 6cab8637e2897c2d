"""The source gcp-pubsub: what comes in, when it is acknowledged, and what a crash costs."""

from __future__ import annotations

import asyncio
import base64
import json
import random
import socket
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from edgerouter import Delivery, Unavailable
from edgerouter_gcp.pubsub.source import PubsubSource
from support.google.identity import ACCOUNT, Identity
from support.google.pubsub import CONSUME, GET
from support.google.pubsub_consumer import PubsubConsumerServer
from support.mqtt_source import eventually
from support.receiving import arrived_exactly, opened
from support.router import router

NAME = "projects/plant/subscriptions/commands"


@pytest.fixture
async def service(identity: Identity) -> AsyncIterator[PubsubConsumerServer]:
    async with PubsubConsumerServer(identity).running() as server:
        identity.grant(NAME, CONSUME)
        server.subscribe(NAME)
        yield server


@pytest.fixture
def settings(service: PubsubConsumerServer, account: Mapping[str, Any]) -> dict[str, Any]:
    return {"subscription": "commands", "endpoint": service.url, **account}


async def acknowledged(service: PubsubConsumerServer, seconds: float = 20) -> None:
    """Wait until nothing is left."""
    await eventually(lambda: service.left(NAME) == (0, 0), seconds)


async def test_data_comes_in_byte_for_byte_and_what_the_sink_put_beside_it_is_restored(
    service: PubsubConsumerServer, settings: dict[str, Any]
) -> None:
    binary = bytes(range(256))
    service.put(NAME, b"plain")
    attributes = {
        "topic": "plant/1/valve", "retained": "true", "device": "d7", "user_topic": "x", "user_name": "y",
        "content_type": "text/plain", "correlation_data": base64.b64encode(b"\x00\x01").decode(),
    }  # fmt: skip
    service.put(NAME, binary, attributes=attributes)
    service.put(NAME, b"", attributes={"only": "attributes"})
    async with opened(PubsubSource, settings) as source:
        messages = {message.payload: message for message in await source.messages(3)}
    assert set(messages) == {b"plain", binary, b""}
    assert (messages[b"plain"].topic, messages[b"plain"].properties) == ("commands", None)
    restored = messages[binary]
    assert (restored.topic, restored.retained) == ("plant/1/valve", True)
    assert restored.properties is not None
    assert restored.properties.user == (("device", "d7"), ("topic", "x"), ("user_name", "y"))
    assert (restored.properties.content_type, restored.properties.correlation_data) == ("text/plain", b"\x00\x01")


async def test_nothing_is_acknowledged_before_it_is_safe(service: PubsubConsumerServer, settings: dict[str, Any]) -> None:
    service.put(NAME, *(b"%d" % number for number in range(25)))
    async with opened(PubsubSource, settings | {"max_unacknowledged": 10}) as source:
        deliveries = await source.gathered(10)
        await source.nothing_comes()
        assert service.left(NAME) == (15, 10)
        for delivery in deliveries:
            delivery.acknowledge()
        await eventually(lambda: sum(service.left(NAME)) == 15)
        await source.messages(15)
    assert service.left(NAME) == (0, 0)


async def test_what_waits_longer_than_the_deadline_does_not_come_twice(
    service: PubsubConsumerServer, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerouter_gcp.pubsub.source._Subscription.first_lease", 1.5)
    service.subscribe(NAME, deadline=1.5)
    service.put(NAME, b"slow")
    async with opened(PubsubSource, settings) as source:
        delivery = await source.delivery()
        await source.nothing_comes(3)
        assert service.left(NAME) == (0, 1)
        delivery.acknowledge()
        await acknowledged(service)


async def test_an_acknowledgement_that_fails_is_tried_again_and_nothing_is_stored_twice(
    service: PubsubConsumerServer, settings: dict[str, Any]
) -> None:
    service.subscribe(NAME, deadline=1)
    service.put(NAME, *(b"%d" % number for number in range(20)))
    async with opened(PubsubSource, settings) as source:
        service.fail_acknowledgements = True
        await source.messages(20)
        assert "503 UNAVAILABLE" in await source.disconnected()
        await eventually(lambda: service.handed_out > 20)
        service.fail_acknowledgements = False
        await acknowledged(service)
        await source.connected()
        await source.nothing_comes()


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "FAILED_PRECONDITION"])
async def test_with_exactly_once_delivery_an_id_that_is_out_of_date_holds_up_no_other(
    service: PubsubConsumerServer, settings: dict[str, Any], code: str
) -> None:
    """The whole request is refused then; were it only sent again, it would be for ever, and the source would stop in the end."""
    service.exactly_once = code
    service.put(NAME, *(b"%d" % number for number in range(20)))
    async with opened(PubsubSource, settings) as source:
        deliveries = await source.gathered(20)
        for held in list(service.held[NAME].values())[:3]:
            held.ack_id, held.hidden_until = "of another handing out", 0.0
        for delivery in deliveries:
            delivery.acknowledge()
        await acknowledged(service)
        await source.nothing_comes()
        await source.connected()
        assert all(connected for connected, _ in source.told), "a handle that is out of date is not a problem"
    requests = [request for request in service.seen if request.path.endswith(":acknowledge")]
    assert len(requests) <= 3


async def test_with_exactly_once_delivery_the_others_are_extended(
    service: PubsubConsumerServer, settings: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerouter_gcp.pubsub.source._Subscription.first_lease", 1.5)
    service.exactly_once = "FAILED_PRECONDITION"
    service.subscribe(NAME, deadline=1.5)
    service.put(NAME, b"stale", b"good")
    async with opened(PubsubSource, settings) as source:
        deliveries = await source.gathered(2)
        stale, good = service.held[NAME].values()
        stale.ack_id = "of another handing out"
        await source.nothing_comes(3)
        assert (stale.attempts, good.attempts) == (2, 1)
        for delivery in deliveries:
            delivery.acknowledge()
        await acknowledged(service)


async def test_what_an_earlier_run_has_stored_is_acknowledged_and_not_stored_again(
    service: PubsubConsumerServer, settings: dict[str, Any]
) -> None:
    service.subscribe(NAME, deadline=1)
    service.put(NAME, b"first", b"second")
    async with opened(PubsubSource, settings) as source:
        stored = await source.gathered(2)  # and the process dies before it acknowledges
        assert all(delivery.receipt_stands_alone for delivery in stored), "steps of the source leave it as it is"
    service.put(NAME, b"third")
    # as steps of the source may have left them
    earlier = [Delivery(delivery.messages[:1], lambda: None, delivery.receipt) for delivery in stored]
    async with opened(PubsubSource, settings, unacknowledged=earlier) as source:
        assert [message.payload for message in await source.messages(1)] == [b"third"]
        await acknowledged(service)


async def test_what_is_missing_is_said_and_the_router_opens_again(
    service: PubsubConsumerServer, settings: dict[str, Any], identity: Identity
) -> None:
    identity.grant("projects/plant/subscriptions/comands", GET)
    async with opened(PubsubSource, settings | {"subscription": "comands"}) as source:
        with pytest.raises(Unavailable, match="there is no such subscription"):
            await source.delivery()
    identity.grants.clear()
    identity.grant(NAME, GET)
    async with opened(PubsubSource, settings) as source:
        with pytest.raises(Unavailable, match=rf"grant roles/pubsub.subscriber on the subscription to {ACCOUNT}"):
            await source.delivery()


async def test_a_look_takes_no_message(service: PubsubConsumerServer, settings: dict[str, Any]) -> None:
    service.put(NAME, b"kept")
    async with opened(PubsubSource, settings, probe=True) as source:
        await source.connected()
    assert service.left(NAME) == (1, 0)


def config(settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    return {
        "sources": {"cloud": {"type": "gcp-pubsub", "topic": "commands/in", **settings}},
        "sinks": {"archive": {"type": "file", "path": str(folder)}},
    }


def payloads(count: int) -> list[bytes]:
    dice = random.Random(count)
    return [number.to_bytes(4, "big") + dice.randbytes(30) for number in range(count)]


async def test_a_kill_in_the_middle_loses_nothing_and_a_run_to_the_end_doubles_nothing(
    service: PubsubConsumerServer, settings: dict[str, Any], tmp_path: Path
) -> None:
    service.subscribe(NAME, deadline=2)
    sent = payloads(20_000)
    service.put(NAME, *sent[:10_000])
    async with router(tmp_path, config(settings | {"max_unacknowledged": 1500}, tmp_path / "archive")) as process:
        await process.start()
        await process.until(lambda status: status["sinks"]["archive"]["delivered"] >= 1000)
        await process.kill()
        await process.start()
        await acknowledged(service, 60)
        status = await process.until_delivered()
        repeats = status["sinks"]["archive"]["matched"] - 10_000
        service.put(NAME, *sent[10_000:])
        await acknowledged(service, 60)
        status = await process.until_delivered()
        assert await process.stop() == 0
    assert status["sinks"]["archive"]["matched"] - 20_000 == repeats
    assert repeats <= 3000
    arrived_exactly(tmp_path / "archive", sent, repeats=3000)


async def test_a_service_that_is_down_at_the_start_is_waited_for(
    identity: Identity, account: Mapping[str, Any], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    async with PubsubConsumerServer(identity).running() as service:
        identity.grant(NAME, CONSUME)
        service.subscribe(NAME)
        service.put(NAME, b"late")
        settings = {"subscription": "commands", "endpoint": f"http://127.0.0.1:{port}", **account}
        async with router(tmp_path, config(settings, tmp_path / "archive")) as process:
            await process.start(connected=False)
            await process.until(lambda status: "onnect" in status["sources"]["cloud"]["reason"])
            relay = await asyncio.start_server(lambda reader, writer: _relay(reader, writer, service.url), "127.0.0.1", port)
            await process.until(lambda status: status["sinks"]["archive"]["delivered"] == 1)
            assert await process.stop() == 0
            relay.close()
    arrived_exactly(tmp_path / "archive", [b"late"])


async def _relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, url: str) -> None:
    port = int(url.rpartition(":")[2])
    back_reader, back_writer = await asyncio.open_connection("127.0.0.1", port)

    async def pass_on(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        try:
            while data := await source.read(65536):
                target.write(data)
        except ConnectionError:
            return
        finally:
            target.close()

    await asyncio.gather(pass_on(reader, back_writer), pass_on(back_reader, writer))


async def test_check_connect_says_what_is_wrong(service: PubsubConsumerServer, settings: dict[str, Any], tmp_path: Path) -> None:
    wrong = config(settings | {"subscription": "nowhere"}, tmp_path / "archive")
    wrong["sources"]["good"] = {"type": "gcp-pubsub", **settings}
    async with router(tmp_path, wrong) as process:
        code, said = await process.check_connect()
    assert code == 2, said
    assert "grant roles/pubsub.subscriber on the subscription, which may also be missing" in said
    assert "source good (gcp-pubsub): ok" in said
    assert json.dumps(settings["private_key"])[30:60] not in said
