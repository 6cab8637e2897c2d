"""Under steady traffic a connection is read once for each delivery, and nothing is held back by that."""

from __future__ import annotations

import asyncio
from typing import Any

from edgerouter.mqtt.reading import Reading
from edgerouter.source import Delivery
from edgerouter.sources.mqtt.fence import PINGREQ
from edgerouter.sources.mqtt.in_flight import InFlight
from edgerouter.sources.mqtt.inflow import Inflow
from edgerouter.sources.mqtt.read_ahead import Allowance
from edgerouter.sources.mqtt.stream import PublishStream
from support.mqtt_source import TakesAll

SUBACK = 0x90
PUBREL = b"\x62\x02\x00\x01"
PINGRESP = b"\xd0\x00"


class Broker:
    """The client's socket: what a broker has sent and the client has not read, and whether the event loop watches it."""

    reads_whole = is_open = True
    awaits_answer_since = 0.0
    keepalive = 60

    def __init__(self, *, max_unconfirmed: int = 20_000) -> None:
        self.waiting = b""
        self.held_back = b""
        """By Nagle's algorithm, until TCP has acknowledged what was read."""
        self.reads = 0
        self.watched = True
        self.sent: list[bytes] = []
        self.answers: list[int] = []
        self.hurried = 0
        self.unreleased = 0
        """Messages of QoS 2 whose PUBREL has not come."""
        self._number = 0
        self.in_flight = InFlight(
            max_messages=1000, max_bytes=10**6, max_qos0_bytes=10**6, dropped=lambda *_: None, max_unconfirmed=max_unconfirmed
        )
        stream = PublishStream(
            self.in_flight, version5=True, duplicates=TakesAll(), other_packet=self._other, releases=self._released
        )
        client: Any = self
        self.inflow = Inflow(
            self.in_flight, stream, client,
            allowance=Allowance(10**6), window=100, flush_now=self._flush_now, cut=lambda _: None, other_answer=self._answer,
            awaits_release=lambda: self.unreleased > 0,
        )  # fmt: skip
        self.reading = Reading(self, self.inflow.received)
        self.in_flight.begin_connection(self.inflow)

    def receive(self, size: int) -> bytes | None:
        self.reads += 1
        data, self.waiting = self.waiting[:size], self.waiting[size:]
        return data

    def holds_more(self) -> bool:
        return False

    def watch(self) -> None:
        self.watched = True

    def unwatch(self) -> None:
        self.watched = False

    def fail(self, malformed: str) -> None:
        raise AssertionError(malformed)

    def send(self, packets: bytes) -> None:
        self.sent.append(packets)

    queue = send

    def hasten(self) -> None:
        if not self.waiting:
            self.waiting, self.held_back = self.held_back, b""

    def _other(self, command: int, body: bytes) -> bool:
        return self.inflow.answered(command, body)

    def _released(self, packets: bytes) -> None:
        self.unreleased -= len(packets) // 4
        self.inflow.released(len(packets) // 4)

    def _answer(self, command: int, _: bytes) -> bool:
        self.answers.append(command)
        return True

    def _flush_now(self) -> None:
        self.hurried += 1

    def publishes(self, messages: int = 1, *, after: bytes = b"") -> None:
        """Send messages after another packet; the event loop calls the reader if it watches the socket."""
        self.waiting += after
        for _ in range(messages):
            self._number += 1
            self.waiting += b"\x32\x09\x00\x01t" + self._number.to_bytes(2, "big") + b"\x00abc"
        self.answers_with(b"")

    def answers_with(self, packet: bytes) -> None:
        """Send a packet."""
        self.waiting += packet
        if self.watched:
            self.reading.readable()

    def next(self) -> Delivery | None:
        """Take a delivery, as the router does."""
        return self.in_flight.take(TakesAll())


async def pause() -> None:
    """Let enough time pass that what comes is not an answer to acknowledgements."""
    await asyncio.sleep(0.01)


async def steady() -> Broker:
    """Return a broker of whose connection reading waits for the router."""
    broker = Broker()
    broker.publishes()
    delivery = broker.next()
    assert delivery is not None
    delivery.acknowledge()
    await pause()
    broker.publishes()
    assert not broker.watched
    return broker


async def test_what_comes_while_the_router_stores_a_delivery_is_read_with_the_next_one() -> None:
    broker = await steady()
    before = broker.reads
    for _ in range(20):
        broker.publishes()
    delivery = broker.next()

    assert delivery is not None
    assert len(delivery.messages) == 21
    assert broker.reads == before + 2, "once, and once more for what the acknowledgement of TCP lets pass"


async def test_what_the_broker_holds_back_until_tcp_acknowledges_comes_with_the_same_delivery() -> None:
    broker = await steady()
    broker.publishes(5)
    broker.waiting, broker.held_back = broker.waiting[:44], broker.waiting[44:]
    delivery = broker.next()

    assert delivery is not None
    assert len(delivery.messages) == 6


async def test_a_router_that_waits_for_messages_gets_them_as_they_come() -> None:
    broker = await steady()
    assert broker.next() is not None
    assert broker.next() is None

    assert broker.watched
    broker.publishes()
    assert broker.next() is not None


async def test_a_full_window_of_the_broker_is_stored_at_once_and_read_as_it_comes() -> None:
    broker = await steady()
    broker.publishes(99)
    delivery = broker.next()

    assert delivery is not None
    assert broker.hurried
    assert broker.watched


async def test_answers_of_the_broker_are_seen_while_the_router_is_busy_for_long() -> None:
    broker = await steady()
    broker.answers_with(bytes((SUBACK, 4, 0, 1, 0, 1)))
    assert not broker.answers
    broker.inflow.tick()

    assert broker.answers == [SUBACK]


async def test_a_connection_that_is_full_is_read_again_when_there_is_room() -> None:
    broker = await steady()
    broker.publishes(2000)
    broker.watched = True
    while (delivery := broker.next()) is not None:
        delivery.acknowledge()
        broker.reading.readable()

    assert broker.in_flight.unacknowledged == 0
    assert broker.watched
    assert not broker.waiting


async def test_a_connection_that_is_full_is_not_read_again_in_the_same_cycle() -> None:
    broker = await steady()
    broker.publishes(1000)
    broker.held_back = b"\xd0\x00"
    assert broker.next() is not None
    assert broker.held_back


async def test_reading_waits_a_moment_where_small_answers_follow_each_other_and_then_goes_on() -> None:
    broker = Broker()
    broker.unreleased = 3
    broker.answers_with(PUBREL)
    broker.publishes(3)
    assert broker.waiting
    async with asyncio.timeout(10):
        while broker.waiting:
            await asyncio.sleep(0)
    assert broker.watched


async def test_a_moments_wait_does_not_end_the_wait_for_the_router() -> None:
    broker = await steady()
    broker.unreleased = 2
    broker.answers_with(PUBREL * 2)
    broker.inflow.tick()
    await pause()
    assert not broker.watched


async def test_a_broker_that_may_wait_for_each_answer_does_not_wait_for_the_router() -> None:
    broker = await steady()
    broker.unreleased = 3
    broker.answers_with(PUBREL)
    broker.publishes()
    assert broker.next() is not None

    assert broker.watched
    broker.answers_with(PUBREL)
    assert broker.unreleased == 1


async def test_a_broker_that_may_wait_for_each_answer_is_read_while_the_router_is_busy_for_long() -> None:
    broker = await steady()
    broker.unreleased = 3
    broker.answers_with(PUBREL)
    broker.inflow.tick()

    assert broker.watched


async def test_a_release_late_in_a_cycle_does_not_let_what_follows_its_answer_wait() -> None:
    broker = Broker()
    broker.publishes()
    delivery = broker.next()
    assert delivery is not None
    delivery.acknowledge()
    await pause()
    broker.unreleased = 1
    broker.answers_with(PUBREL)

    assert broker.watched


async def test_a_broker_known_to_wait_for_each_answer_is_read_as_soon_as_it_gets_some() -> None:
    broker = Broker()
    broker.unreleased = 2
    broker.answers_with(PUBREL)
    async with asyncio.timeout(10):
        while not broker.watched:
            await asyncio.sleep(0)
    broker.unreleased = 2
    broker.answers_with(PUBREL)
    broker.unreleased = 0
    broker.publishes()
    delivery = broker.next()
    assert delivery is not None
    await pause()
    broker.publishes()
    assert not broker.watched
    broker.unreleased = 1
    delivery.acknowledge()

    assert broker.watched


async def test_the_answer_that_makes_room_is_read_where_small_answers_came_before_what_has_no_room() -> None:
    broker = Broker(max_unconfirmed=10)
    broker.publishes(5)
    delivery = broker.next()
    assert delivery is not None
    delivery.acknowledge()
    assert b"".join(broker.sent).endswith(PINGREQ)
    broker.unreleased = 2
    broker.publishes(8, after=PUBREL)
    assert broker.in_flight.awaits_fence
    await pause()
    broker.answers_with(PINGRESP)
    async with asyncio.timeout(10):
        while broker.in_flight.unacknowledged < 8:
            await asyncio.sleep(0)
