"""The source aws-sqs: what comes in, when it is deleted, and what a crash costs.

Covers also: edgerouter_aws.sqs.received, edgerouter_aws.sqs.source_config, edgerouter.receiving.receiver,
edgerouter.receiving.source.
"""

from __future__ import annotations

import base64
import gzip
import random
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiobotocore.session import get_session
from moto.server import ThreadedMotoServer
from pydantic import ValidationError

from edgerouter import Delivery, Unavailable
from edgerouter_aws.sqs.source import SqsSource
from edgerouter_aws.sqs.source_config import SqsSourceConfig
from support.aws.sqs_consumer import SqsConsumerServer
from support.mqtt_source import eventually
from support.receiving import archived, arrived_exactly, opened
from support.router import router

KEYS = {"region": "eu-west-1", "access_key_id": "AKIAIOSFODNN7EXAMPLE", "secret_access_key": "wJalrXUtnFEMI"}
QUEUE = "commands"


def settings(sqs: SqsConsumerServer, **more: Any) -> dict[str, Any]:
    return {"queue": QUEUE, "endpoint_url": sqs.url, "wait": "1s", "visibility_timeout": "5s", **KEYS, **more}


@pytest.fixture
async def sqs() -> AsyncIterator[SqsConsumerServer]:
    async with SqsConsumerServer().running() as server:
        server.create(QUEUE)
        yield server


async def empty(sqs: SqsConsumerServer, seconds: float = 20) -> None:
    """Wait until everything is deleted."""
    await eventually(lambda: sqs.left(QUEUE) == (0, 0), seconds)


async def test_a_body_comes_in_byte_for_byte_and_what_the_sink_put_beside_it_is_restored(sqs: SqsConsumerServer) -> None:
    binary = bytes(range(256))
    text = {"DataType": "String"}
    sqs.put(QUEUE, "plain ü\r\n")
    sqs.put(
        QUEUE,
        base64.b64encode(binary).decode(),
        attributes={
            "encoding": {**text, "StringValue": "base64"},
            "topic": {**text, "StringValue": "plant/1/valve"},
            "qos": {"DataType": "Number", "StringValue": "2"},
            "retained": {**text, "StringValue": "true"},
            "device": {**text, "StringValue": "d7"},
            "correlation_data": {"DataType": "Binary", "BinaryValue": base64.b64encode(b"\x00\x01").decode()},
        },
    )
    sqs.put(QUEUE, " ", attributes={"encoding": {**text, "StringValue": "empty"}})
    sqs.put(
        QUEUE, base64.b64encode(gzip.compress(b"a\nb\n")).decode(), attributes={"encoding": {**text, "StringValue": "gzip+base64"}}
    )
    sqs.put(QUEUE, "not base64!", attributes={"encoding": {**text, "StringValue": "base64"}})
    async with opened(SqsSource, settings(sqs)) as source:
        messages = {message.payload: message for message in await source.messages(5)}
    assert set(messages) == {"plain ü\r\n".encode(), binary, b"", b"a\nb\n", b"not base64!"}
    restored = messages[binary]
    assert (restored.topic, restored.qos, restored.retained) == ("plant/1/valve", 2, True)
    assert restored.properties is not None
    assert (restored.properties.user, restored.properties.correlation_data) == ((("device", "d7"),), b"\x00\x01")
    assert messages["plain ü\r\n".encode()].topic == QUEUE
    assert messages["plain ü\r\n".encode()].properties is None


async def test_the_topic_follows_the_template(sqs: SqsConsumerServer) -> None:
    kind = {"kind": {"DataType": "String", "StringValue": "x+/#y"}}
    sqs.put(QUEUE, "a", attributes=kind)
    async with opened(SqsSource, settings(sqs, topic="cloud/{place}/{attribute[kind]}")) as source:
        assert [message.topic for message in await source.messages(1)] == ["cloud/commands/x_/_y"]
    with pytest.raises(ValidationError, match=r"did you mean \{topic\}"):
        SqsSourceConfig(queue=QUEUE, topic="a/{topik}")


async def test_nothing_is_deleted_before_it_is_safe(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, *map(str, range(25)))
    async with opened(SqsSource, settings(sqs)) as source:
        deliveries = await source.gathered(25)
        assert sqs.left(QUEUE) == (0, 25)
        for delivery in deliveries[:-1]:
            delivery.acknowledge()
        kept = len(deliveries[-1].messages)
        await eventually(lambda: sqs.left(QUEUE) == (0, kept))
        deliveries[-1].acknowledge()
        await empty(sqs)


async def test_leaving_waits_for_the_deletes(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, *map(str, range(50)))
    async with opened(SqsSource, settings(sqs)) as source:
        await source.messages(50)
    assert sqs.left(QUEUE) == (0, 0)


async def test_what_waits_longer_than_the_visibility_timeout_does_not_come_twice(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, "slow")
    async with opened(SqsSource, settings(sqs, visibility_timeout="2s")) as source:
        delivery = await source.delivery()
        await source.nothing_comes(4.5)
        assert sqs.left(QUEUE) == (0, 1)
        delivery.acknowledge()
        await empty(sqs)


async def test_a_router_that_does_not_pull_stops_the_polling(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, *map(str, range(100)))
    async with opened(SqsSource, settings(sqs, max_unacknowledged=30, polls=3)) as source:
        deliveries = await source.gathered(30)
        await source.nothing_comes()
        assert sqs.left(QUEUE) == (70, 30)
        for delivery in deliveries:
            delivery.acknowledge()
        await source.messages(70)
        await empty(sqs)


async def test_a_delete_that_fails_is_tried_again_and_nothing_is_stored_twice(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, *map(str, range(20)))
    async with opened(SqsSource, settings(sqs, visibility_timeout="2s")) as source:
        sqs.fail_deletes = True
        await source.messages(20)
        assert "not acknowledged: queue commands in eu-west-1: InternalError" in await source.disconnected()
        await eventually(lambda: sqs.handed_out > 20)
        sqs.fail_deletes = False
        await empty(sqs)
        await source.connected()
        await source.nothing_comes()


async def test_what_an_earlier_run_has_stored_is_deleted_and_not_stored_again(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, "first", "second")
    short = settings(sqs, visibility_timeout="2s")
    async with opened(SqsSource, short) as source:
        stored = await source.gathered(2)  # and the process dies before it deletes
        assert all(delivery.receipt_stands_alone for delivery in stored), "steps of the source leave it as it is"
    sqs.put(QUEUE, "third")
    # as steps of the source may have left them
    earlier = [Delivery(delivery.messages[:1], lambda: None, delivery.receipt) for delivery in stored]
    async with opened(SqsSource, short, unacknowledged=earlier) as source:
        assert [message.payload for message in await source.messages(1)] == [b"third"]
        await empty(sqs)


async def test_a_queue_that_is_not_there_says_so_and_the_router_opens_again(sqs: SqsConsumerServer) -> None:
    async with opened(SqsSource, settings(sqs) | {"queue": "comands"}) as source:
        with pytest.raises(Unavailable, match="the queue does not exist; check its name"):
            await source.delivery()


async def test_a_look_takes_no_message(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, "kept")
    async with opened(SqsSource, settings(sqs), probe=True) as source:
        await source.connected()
    assert sqs.left(QUEUE) == (1, 0)


def config(url: str, folder: Path) -> dict[str, Any]:
    cloud = {"type": "aws-sqs", "queue": QUEUE, "endpoint_url": url, "wait": "1s", "visibility_timeout": "3s", "polls": 2, **KEYS}
    return {
        "sources": {"cloud": {**cloud, "topic": "commands/in"}},
        "sinks": {"archive": {"type": "file", "path": str(folder)}},
    }


def payloads(count: int) -> list[bytes]:
    dice = random.Random(count)
    return [b"%d " % number + dice.randbytes(20).hex().encode() for number in range(count)]


async def test_a_router_receives_every_message_exactly_once(sqs: SqsConsumerServer, tmp_path: Path) -> None:
    sent = payloads(5000)
    sqs.put(QUEUE, *[payload.decode() for payload in sent])
    async with router(tmp_path, config(sqs.url, tmp_path / "archive")) as process:
        await process.start()
        await process.until(lambda status: status["sinks"]["archive"]["delivered"] == 5000)
        assert await process.stop() == 0
    arrived_exactly(tmp_path / "archive", sent)
    assert sqs.left(QUEUE) == (0, 0)


async def test_a_kill_in_the_middle_loses_nothing(sqs: SqsConsumerServer, tmp_path: Path) -> None:
    sent = payloads(3000)
    sqs.put(QUEUE, *[payload.decode() for payload in sent])
    async with router(tmp_path, config(sqs.url, tmp_path / "archive")) as process:
        for least in (200, 1200):
            await process.start()
            await process.until(archived(least))
            await process.kill()
        await process.start()
        await empty(sqs, 60)
        await process.until_delivered()
        assert await process.stop() == 0
    # two kills, each with at most one delivery between its commit and its deletes unrecognised
    arrived_exactly(tmp_path / "archive", sent, repeats=2000)


async def test_a_service_that_is_down_at_the_start_is_waited_for_and_moto_is_one(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=port, verbose=False)
    url = f"http://127.0.0.1:{port}"
    sent = payloads(100)
    async with router(tmp_path, config(url, tmp_path / "archive")) as process:
        await process.start(connected=False)
        await process.until(lambda status: "connect" in status["sources"]["cloud"]["reason"])
        server.start()
        try:
            async with get_session().create_client(
                "sqs", region_name="eu-west-1", endpoint_url=url, aws_access_key_id="A", aws_secret_access_key="s"
            ) as client:
                queue = (await client.create_queue(QueueName=QUEUE))["QueueUrl"]
                for at in range(0, 100, 10):
                    entries = [{"Id": str(n), "MessageBody": body.decode()} for n, body in enumerate(sent[at : at + 10])]
                    await client.send_message_batch(QueueUrl=queue, Entries=entries)
                await process.until(lambda status: status["sinks"]["archive"]["delivered"] >= 100)
            assert await process.stop() == 0
        finally:
            server.stop()
    # moto is not made for two requests at once, and may hand out a message twice
    arrived_exactly(tmp_path / "archive", sent, repeats=10)


async def test_check_connect_says_what_is_wrong(sqs: SqsConsumerServer, tmp_path: Path) -> None:
    wrong = config(sqs.url, tmp_path / "archive")
    wrong["sources"]["cloud"]["queue"] = "nowhere"
    wrong["sources"]["good"] = {"type": "aws-sqs", **settings(sqs)}
    async with router(tmp_path, wrong) as process:
        code, said = await process.check_connect()
    assert code == 2, said
    assert "queue nowhere in eu-west-1: the queue does not exist" in said
    assert "source good (aws-sqs): ok" in said
    assert KEYS["secret_access_key"] not in said


async def test_stopping_yields_what_has_come_in_and_then_ends(sqs: SqsConsumerServer) -> None:
    sqs.put(QUEUE, *map(str, range(10)))
    async with opened(SqsSource, settings(sqs)) as source:
        assert isinstance(source.source, SqsSource)
        inbox = source.source.receiver.inbox
        await eventually(lambda: inbox.messages == 10)
        source.source.stop()
        rest = [message async for delivery in source.source.deliveries() for message in delivery.messages]
    assert len(rest) == 10
