"""A stream is received in order and without repeats through restarts of the server, of the router and of the consumer.

Covers also: edgerouter_nats.jetstream.consumer, edgerouter_nats.jetstream.pulls, edgerouter_nats.jetstream.receiving,
edgerouter_nats.incoming.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest
from nats.aio.client import Client
from nats.errors import Error
from nats.js.api import AckPolicy, KeyValueConfig

from edgerouter import Delivery, Message, Properties, Source, SourceContext, Unauthorized
from edgerouter_nats.jetstream.source import JetStreamSource, JetStreamSourceConfig
from edgerouter_nats.key_value.source import KeyValueSource, KeyValueSourceConfig
from support.nats.cluster import NatsServer


class Reader:
    """A router in miniature: acknowledges each delivery after a moment."""

    def __init__(self, *, acknowledges: bool = True) -> None:
        self.messages: list[Message] = []
        self.deliveries: list[Delivery] = []
        self.dropped: list[tuple[str, int, str]] = []
        self.connected = asyncio.Event()
        self._acknowledges = acknowledges

    def context(self, unacknowledged: Sequence[Delivery] = ()) -> SourceContext:
        return SourceContext(
            name="in",
            host="edge-1",
            spool="5p00l",
            flush_now=lambda: None,
            dropped=lambda topic, messages, reason: self.dropped.append((topic, messages, reason)),
            connected=lambda yes, _: self.connected.set() if yes else None,
            unacknowledged=unacknowledged,
        )

    async def read(self, source: Source[Any]) -> None:
        async for delivery in source.deliveries():
            self.messages += delivery.messages
            self.deliveries.append(delivery)
            await asyncio.sleep(0)
            if self._acknowledges:
                delivery.acknowledge()

    @property
    def payloads(self) -> list[bytes]:
        return [message.payload for message in self.messages]

    async def until(self, holds: Callable[[], bool], seconds: float = 30) -> None:
        async with asyncio.timeout(seconds):
            while not holds():
                await asyncio.sleep(0.01)


@asynccontextmanager
async def running(
    config: JetStreamSourceConfig | KeyValueSourceConfig, reader: Reader, unacknowledged: Sequence[Delivery] = ()
) -> AsyncIterator[asyncio.Task[None]]:
    kind: Any = KeyValueSource if isinstance(config, KeyValueSourceConfig) else JetStreamSource
    async with kind.open(config, reader.context(unacknowledged)) as source:
        task = asyncio.create_task(reader.read(source), name="reader")
        yield task
        task.cancel()


@pytest.fixture
def name() -> str:
    return f"t{uuid.uuid4().hex}"


@asynccontextmanager
async def client_of(server: NatsServer) -> AsyncIterator[Client]:
    client = Client()
    await client.connect(server.url, reconnect_time_wait=0, max_reconnect_attempts=-1, error_cb=_quiet)
    yield client
    await client.close()


async def _quiet(_: Exception) -> None: ...


def configured(server: NatsServer, name: str, **fields: Any) -> JetStreamSourceConfig:
    given = {"servers": [server.url], "stream": name, "durable": "router", "ack_wait": "2s", **fields}
    return JetStreamSourceConfig.model_validate(given)


async def fill(client: Client, name: str, numbers: range) -> None:
    for number in numbers:
        for _ in range(100):
            try:
                message_id = {"Nats-Msg-Id": str(number)}
                await client.jetstream(timeout=1).publish(f"{name}.a", str(number).encode(), headers=message_id)
                break
            except (Error, OSError):
                await asyncio.sleep(0.1)


def numbered(numbers: range) -> list[bytes]:
    return [str(number).encode() for number in numbers]


async def test_a_server_that_is_killed_under_load_loses_nothing_repeats_nothing_and_keeps_the_order(
    server: NatsServer, name: str
) -> None:
    reader = Reader()
    async with client_of(server) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        async with running(configured(server, name), reader):
            await reader.connected.wait()
            filling = asyncio.create_task(fill(client, name, range(300)), name="fill")
            for reached in (50, 150):
                await reader.until(lambda reached=reached: len(reader.messages) > reached)  # type: ignore[misc]
                await asyncio.to_thread(server.restart)
            await filling
            await reader.until(lambda: len(reader.messages) >= 300)
    assert reader.payloads == numbered(range(300))


async def test_messages_that_were_stored_before_a_crash_are_not_stored_again(nats: NatsServer, name: str) -> None:
    crashed, again = Reader(acknowledges=False), Reader()
    async with client_of(nats) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        await fill(client, name, range(20))
        async with running(configured(nats, name, ack_wait="1s"), crashed):
            await crashed.until(lambda: len(crashed.messages) == 20)
        await fill(client, name, range(20, 30))
        # as steps of the source may have left them: a receipt counts without the messages
        shaped = [delivery.shaped(delivery.messages[:1]) for delivery in crashed.deliveries]
        async with running(configured(nats, name, ack_wait="1s"), again, shaped):
            await again.until(lambda: len(again.messages) == 10)
            # those of before come again when `ack_wait` is over
            async with asyncio.timeout(20):
                while (await client.jetstream().consumer_info(name, "router")).num_ack_pending:
                    await asyncio.sleep(0.05)
    assert again.payloads == numbered(range(20, 30))


async def test_messages_on_their_way_when_the_router_died_come_before_newer_ones(nats: NatsServer, name: str) -> None:
    crashed, again = Reader(acknowledges=False), Reader()
    async with client_of(nats) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        await fill(client, name, range(10))
        async with running(configured(nats, name, ack_wait="1s"), crashed):
            await crashed.until(lambda: len(crashed.messages) == 10)
        await fill(client, name, range(10, 20))
        async with running(configured(nats, name, ack_wait="1s"), again):
            await again.until(lambda: len(again.messages) == 20)
    assert again.payloads == numbered(range(20))


async def test_a_consumer_that_was_deleted_is_made_anew_and_brings_nothing_twice(nats: NatsServer, name: str) -> None:
    reader = Reader()
    async with client_of(nats) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        async with running(configured(nats, name), reader):
            await fill(client, name, range(20))
            await reader.until(lambda: len(reader.messages) == 20)
            await asyncio.sleep(0.1)
            await client.jetstream().delete_consumer(name, "router")
            await fill(client, name, range(20, 40))
            await reader.until(lambda: len(reader.messages) >= 40)
    assert reader.payloads == numbered(range(40))


async def test_a_stream_that_was_deleted_and_made_anew_is_received_from_its_beginning(nats: NatsServer, name: str) -> None:
    reader = Reader()
    async with client_of(nats) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        async with running(configured(nats, name), reader):
            await fill(client, name, range(20))
            await reader.until(lambda: len(reader.messages) == 20)
            await client.jetstream().delete_stream(name)
            await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
            await fill(client, name, range(100, 120))
            await reader.until(lambda: len(reader.messages) >= 40)
    assert reader.payloads == [*numbered(range(20)), *numbered(range(100, 120))]


async def test_a_message_over_the_bound_is_dropped_and_counted_and_does_not_stay_in_the_way(nats: NatsServer, name: str) -> None:
    reader = Reader()
    async with client_of(nats) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        for payload in (b"1", bytes(5000), b"3"):
            await client.jetstream().publish(f"{name}.a", payload)
        async with running(configured(nats, name, max_message_bytes="4KiB"), reader):
            await reader.until(lambda: len(reader.messages) == 2)
            await reader.until(lambda: bool(reader.dropped))
        info = await client.jetstream().consumer_info(name, "router")
    assert reader.payloads == [b"1", b"3"]
    assert reader.dropped == [(name, 1, "longer than max_message_bytes")]
    assert info.num_ack_pending == 0


async def test_a_consumer_that_acknowledges_by_itself_is_refused(nats: NatsServer, name: str) -> None:
    async with client_of(nats) as client:
        stream = client.jetstream()
        await stream.add_stream(name=name, subjects=[f"{name}.>"])
        await stream.add_consumer(name, durable_name="router", ack_policy=AckPolicy.NONE)
        async with running(configured(nats, name), Reader()) as task:
            with pytest.raises(Unauthorized, match="messages could be lost"):
                await task


async def test_subjects_and_headers_become_topics_and_properties(nats: NatsServer, name: str) -> None:
    reader = Reader()
    async with client_of(nats) as client:
        await client.jetstream().add_stream(name=name, subjects=[f"{name}.>"])
        headers = {"unit": "C", "Content-Type": "text/plain", "Edgerouter-Retained": "true"}
        await client.jetstream().publish(f"{name}.line%201.temp", b"21", headers=headers)
        await client.jetstream().publish(f"{name}.other", b"", headers={"Nats-Msg-Id": "5p00l-1"})
        config = configured(nats, name, topic="central/{topic[1:]}/{attribute[unit]}", skip_own=True)
        async with running(config, reader):
            await reader.until(lambda: len(reader.messages) == 1)
            await asyncio.sleep(0.1)
    (message,) = reader.messages
    assert (message.topic, message.qos, message.retained) == ("central/line 1/temp/C", 1, True)
    assert message.properties == Properties((("unit", "C"),), "text/plain")


async def test_a_bucket_brings_the_latest_value_of_each_key_then_its_changes(nats: NatsServer, name: str) -> None:
    reader = Reader()
    async with client_of(nats) as client:
        bucket = await client.jetstream().create_key_value(KeyValueConfig(name))
        for key, value in (("a.=24x", b"1"), ("a.=24x", b"2"), ("b", b"3")):
            await bucket.put(key, value)
        config = KeyValueSourceConfig.model_validate({"servers": [nats.url], "bucket": name, "durable": "router"})
        async with running(config, reader):
            await reader.until(lambda: len(reader.messages) == 2)
            await bucket.delete("b")
            await reader.until(lambda: len(reader.messages) == 3)
    assert [(each.topic, each.payload) for each in reader.messages] == [("a/$x", b"2"), ("b", b"3"), ("b", b"")]
    assert reader.messages[-1].properties == Properties((("KV-Operation", "DEL"),))
