"""Each answer of a real stream becomes the outcome of its message.

Covers also: edgerouter_nats.jetstream.streams.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from typing import Any

import pytest
from nats.aio.client import Client

from edgerouter import Outcome, Properties, Rejected, Throttled, Unauthorized
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_nats.jetstream.sink import JetStreamSink, JetStreamSinkConfig
from support.nats.cluster import NatsServer
from support.nats.stored import stored_in


@pytest.fixture
async def client(nats: NatsServer) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(nats.url)
    yield client
    await client.close()


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex}"


def configured(nats: NatsServer, name: str, **fields: Any) -> JetStreamSinkConfig:
    return JetStreamSinkConfig.model_validate(
        {"servers": [nats.url], "subject": f"{name}.{{topic}}", "ack_timeout": "2s", **fields}
    )


async def written(config: JetStreamSinkConfig, *payloads: bytes, topic: str = "a") -> Outcome:
    async with JetStreamSink.open(config, make_context()) as sink:
        return await sink.write(make_messages(payloads, topic=topic))


async def test_a_receipt_names_the_stream_and_the_place_in_it(client: Client, nats: NatsServer, name: str) -> None:
    await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
    assert await written(configured(nats, name), b"1", b"2") == Outcome([], receipts=[f"{name} 1", f"{name} 2"])
    assert (await written(configured(nats, name), b"1", b"2")).receipts == [f"{name} 1", f"{name} 2"]
    stored = await stored_in(nats.url, name)
    assert [(each.subject, each.payload, each.id) for each in stored] == [
        (f"{name}.a", b"1", "5p00l-1"),
        (f"{name}.a", b"2", "5p00l-2"),
    ]
    assert stored[0].headers["Edgerouter-Time"] == "2026-11-20T10:00:00.124456Z"


async def test_a_subject_that_no_stream_takes_is_an_error_that_says_so(nats: NatsServer, name: str) -> None:
    outcome = await written(configured(nats, name), b"1")
    assert [type(failure.error) for failure in outcome.failed] == [Unauthorized]
    assert "no stream takes the subject" in str(outcome.failed[0].error)


async def test_a_stream_that_is_missing_is_seen_when_the_sink_opens(nats: NatsServer, name: str) -> None:
    with pytest.raises(Unauthorized, match=f"stream {name}: stream not found"):
        await written(configured(nats, name, stream=name), b"1")


async def test_a_message_that_another_stream_takes_is_not_delivered(client: Client, nats: NatsServer, name: str) -> None:
    await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
    await client.jetstream().add_stream(name=f"{name}-other", subjects=[f"{name}-other.>"])
    outcome = await written(configured(nats, name, stream=f"{name}-other"), b"1")
    assert [type(failure.error) for failure in outcome.failed] == [Unauthorized]
    assert "another stream" in str(outcome.failed[0].error)


async def test_a_full_stream_keeps_messages_in_the_spool_until_it_has_room(client: Client, nats: NatsServer, name: str) -> None:
    stream = client.jetstream()
    await stream.add_stream(name=name, subjects=[f"{name}.>"], max_msgs=2, discard="new")
    outcome = await written(configured(nats, name), b"1", b"2", b"3")
    assert [(failure.index, type(failure.error)) for failure in outcome.failed] == [(2, Throttled)]
    assert "raise the stream's limits" in str(outcome.failed[0].error)
    await stream.purge_stream(name)
    async with JetStreamSink.open(configured(nats, name), make_context()) as sink:
        assert not (await sink.write([make_message(b"3", topic="a", sequence=3)])).failed


async def test_a_message_over_a_limit_of_the_stream_or_the_server_is_rejected_alone(
    client: Client, nats: NatsServer, name: str
) -> None:
    await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"], max_msg_size=1000)
    outcome = await written(configured(nats, name), b"1", bytes(1000), bytes(1024 * 1024), b"4")
    assert {failure.index: type(failure.error) for failure in outcome.failed} == {1: Rejected, 2: Rejected}
    assert "max_msg_size" in str(next(each.error for each in outcome.failed if each.index == 1))
    assert len(outcome.receipts or ()) == 2


async def test_a_user_property_does_not_purge_a_stream_that_allows_it(client: Client, nats: NatsServer, name: str) -> None:
    await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"], allow_rollup_hdrs=True)
    properties = Properties((("Nats-Rollup", "all"),))
    async with JetStreamSink.open(configured(nats, name), make_context()) as sink:
        messages = [make_message(b"1", topic="a"), make_message(b"2", topic="a", sequence=2, properties=properties)]
        assert not (await sink.write(messages)).failed
    assert [each.payload for each in await stored_in(nats.url, name)] == [b"1", b"2"]
