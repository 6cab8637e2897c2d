"""The sink publishes to the broker that the topic names, and no broker's trouble reaches another."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, ClassVar

import pytest

from edgerouter import Failure, Message, Rejected, SinkContext, Unauthorized, Unavailable
from edgerouter.testing import Received, SinkConformance, SinkServer, make_message
from edgerouter_cloudsync.names import routed
from edgerouter_cloudsync.sink import CloudSyncSink, CloudSyncSinkConfig
from support.strict_broker import Client, Published, StrictBroker, acknowledge, strict_broker

_FAILURE, _BUSY, _INVALID = 0x80, 0x97, 0x99
"""Reason codes: unspecified error, quota exceeded, payload format invalid."""


class BrokerServer(SinkServer):
    """A broker that keeps what it takes, with the faults that MQTT 5 has a reason code for, or that end the connection."""

    def __init__(self, broker: StrictBroker, stop: AsyncExitStack) -> None:
        self.broker = broker
        self._stop = stop
        self._taken: list[Published] = []
        self._code: Callable[[Published], int | None] = lambda _: 0
        """Reason code of an answer; `None` = no answer."""
        broker.puback = self._answer

    def _answer(self, client: Client, published: Published) -> bytes | None:
        code = self._code(published)
        if client.writer.transport.is_closing() and code:
            return None
        if not code:
            self._taken.append(published)
        return None if code is None else acknowledge(client, published, code)

    async def received(self) -> Sequence[Received]:
        return [Received(each.payload, routed("broker.example", each.topic)) for each in self._taken]

    async def requests(self) -> int:
        return len(self.broker.published)

    async def connections(self) -> int:
        return sum(not client.gone.is_set() for client in self.broker.clients)

    async def fail(self) -> None:
        self._code = lambda _: _FAILURE

    async def throttle(self, _: float) -> None:
        self._code = lambda _: _BUSY

    async def refuse(self) -> None:
        self.broker.admit = lambda _: 135
        for client in self.broker.clients:
            client.writer.close()
            await client.gone.wait()

    async def reject(self, marker: bytes) -> None:
        self._code = lambda published: _INVALID if marker in published.payload else 0

    async def fail_once(self, marker: bytes) -> None:
        failed: set[bytes] = set()

        def code(published: Published) -> int:
            payload = published.payload
            first = marker in payload and payload not in failed
            failed.add(payload)
            return _FAILURE if first else 0

        self._code = code

    async def stall(self) -> None:
        self._code = lambda _: None

    async def lose_next_response(self) -> None:
        self._cut(None)

    async def cut_next(self) -> None:
        self._cut(_FAILURE)

    def _cut(self, code: int | None) -> None:
        def cut(_: Published) -> int | None:
            self._code = lambda _: 0
            self.broker.clients[-1].writer.transport.abort()
            return code

        self._code = cut

    async def heal(self) -> None:
        self.broker.admit = lambda _: 0
        self._code = lambda _: 0

    async def stop(self) -> None:
        for client in self.broker.clients:
            client.writer.close()
        await self._stop.aclose()


class TestCloudSyncSink(SinkConformance):
    sink_class = CloudSyncSink
    throttle_tells_wait = False
    unsupported: ClassVar[Mapping[str, str]] = {
        "max_bytes": "each message has its own packet",
        "max_message_bytes": "a packet may have 256 MiB",
    }

    @pytest.fixture
    async def server(self) -> AsyncIterator[BrokerServer]:
        async with AsyncExitStack() as stack:
            yield BrokerServer(await stack.enter_async_context(strict_broker()), stack)

    @pytest.fixture
    def config(self, server: BrokerServer) -> Mapping[str, Any]:
        broker = {"url": server.broker.url, "username": "edge", "password": "a-secret-of-the-test"}
        return {"brokers": {"broker.example": broker}}

    def message(self, payload: bytes, sequence: int = 1, topic: str = "plant/line-1/temperature") -> Message:
        return make_message(payload, topic=routed("broker.example", topic), sequence=sequence)


@asynccontextmanager
async def opened(brokers: Mapping[str, StrictBroker | str], **fields: Any) -> AsyncIterator[CloudSyncSink]:
    urls = {name: {"url": each if isinstance(each, str) else each.url, "connect_timeout": 1} for name, each in brokers.items()}
    config = CloudSyncSinkConfig.model_validate({"brokers": urls, **fields})
    async with CloudSyncSink.open(config, SinkContext("out", "edge-1", "5p00l")) as sink:
        yield sink


def message(broker: str, payload: bytes = b"x", topic: str = "t", sequence: int = 1) -> Message:
    return make_message(payload, topic=routed(broker, topic), sequence=sequence)


async def test_each_broker_has_a_separate_order_key_and_batch() -> None:
    async with strict_broker() as one, strict_broker() as two, opened({"one": one, "two": two}) as sink:
        first, second = message("one"), message("two")
        assert sink.order_of(first) != sink.order_of(second)
        assert (sink.partition_of(first), sink.partition_of(second)) == ("one", "two")
        await sink.write([first])
        await sink.write([second])
        assert [len(each.published) for each in (one, two)] == [1, 1]


async def test_a_broker_that_swallows_packets_holds_up_no_other() -> None:
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(hole.getsockname())
        dead = {f"dead-{number}": f"mqtt://127.0.0.1:{hole.getsockname()[1]}" for number in range(20)}
        async with strict_broker() as live, opened({**dead, "live": live}) as sink:
            waiting = [asyncio.create_task(sink.write([message(name)])) for name in dead]
            await asyncio.sleep(0)
            async with asyncio.timeout(0.8):
                assert not (await sink.write([message("live")])).failed
            failures = await asyncio.gather(*waiting, return_exceptions=True)
    assert {type(each) for each in failures} == {Unavailable}


async def test_a_broker_that_refuses_us_does_not_have_the_connections_of_others_made_anew() -> None:
    async with strict_broker() as bad, strict_broker() as good, opened({"bad": bad, "good": good}) as sink:
        bad.admit = lambda _: 135
        with pytest.raises(Unauthorized):
            await sink.write([message("bad")])
        await sink.write([message("good")])
        with pytest.raises(Unavailable) as raised:
            await sink.write([message("bad")])
        assert type(raised.value) is Unavailable


async def test_a_topic_that_is_forbidden_is_rejected_and_holds_up_no_other() -> None:
    async with strict_broker() as broker, opened({"a": broker}) as sink:
        broker.puback = lambda client, published: acknowledge(client, published, 135 if published.topic == "closed" else 0)
        for batch in ([message("a", topic="closed")], [message("a"), message("a", topic="closed")]):
            (failure,) = (await sink.write(batch)).failed
            assert isinstance(failure, Failure)
            assert isinstance(failure.error, Rejected)


async def test_a_message_over_the_brokers_limit_is_rejected_and_the_others_are_published() -> None:
    async with strict_broker() as broker, opened({"a": broker}) as sink:
        broker.connack_properties = b"\x27\x00\x00\x10\x00"
        (failure,) = (await sink.write([message("a"), message("a", bytes(5000)), message("a")])).failed
        assert failure.index == 1
        assert isinstance(failure.error, Rejected)
        assert len(broker.published) == 2


@pytest.mark.parametrize("topic", ["plant/line-1", "$cloudsync/elsewhere.example/t"])
async def test_a_message_for_no_listed_broker_is_rejected(topic: str) -> None:
    async with opened({"a": "mqtt://127.0.0.1:1"}) as sink:
        with pytest.raises(Rejected):
            await sink.write([make_message(b"x", topic=topic)])


async def test_a_look_names_every_listed_broker_that_does_not_let_us_in() -> None:
    context = SinkContext("out", "edge-1", "5p00l", probe=True)
    async with strict_broker() as good, strict_broker() as bad:
        bad.admit = lambda _: 135
        listed = {"good": {"url": good.url}, "bad": {"url": bad.url}, "none": {"url": "mqtt://127.0.0.1:1"}}
        config = CloudSyncSinkConfig.model_validate({"brokers": listed})
        with pytest.raises(Unauthorized) as raised:
            async with CloudSyncSink.open(config, context):
                pass
        assert str(bad.port) in str(raised.value)
        assert "127.0.0.1:1 " in str(raised.value)
        assert str(good.port) not in str(raised.value)
        del listed["bad"], listed["none"]
        async with CloudSyncSink.open(CloudSyncSinkConfig.model_validate({"brokers": listed}), context):
            assert not good.published
