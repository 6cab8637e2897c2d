"""A message over the bound is discarded as it comes, and answered in its turn.

Covers: edgerouter.sources.mqtt.stream, edgerouter.mqtt.limits.
"""

from __future__ import annotations

import tracemalloc
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.packets import MalformedPacket
from support.mqtt_packets import publish, varint
from support.mqtt_source import TakesAll
from support.publishes import Sent, make_in_flight, make_stream, taken


@pytest.mark.parametrize("qos", [0, 1, 2])
@given(step=st.integers(1, 3000))
async def test_a_message_over_the_bound_is_discarded_while_it_streams_by_and_answered_in_its_turn(qos: int, step: int) -> None:
    dropped = Counter[str]()
    in_flight = make_in_flight(dropped=dropped)
    sent: list[bytes] = []
    in_flight.begin_connection(Sent(sent))
    stream, others = make_stream(in_flight, limits=PacketLimits(packet=1000))
    data = publish("a", b"1", 1, 1) + publish("big", bytes(9000), qos, 2) + publish("b", b"2", 1, 3) + b"\xd0\x00"
    for at in range(0, len(data), step):
        stream.feed(data[at : at + step])
    in_flight.drops.report()
    seen = []
    while delivery := in_flight.take(TakesAll()):
        seen += [message.payload for message in delivery.messages]
        delivery.acknowledge()
    answer = {0: b"", 1: b"\x40\x02\x00\x02", 2: b"\x50\x02\x00\x02"}[qos]
    assert (seen, b"".join(sent)) == ([b"1", b"2"], b"\x40\x02\x00\x01" + answer + b"\x40\x02\x00\x03")
    assert dropped == {"too_large big": 1}
    assert others == [(0xD0, b"")]
    assert in_flight.unacknowledged == in_flight.unacknowledged_bytes == 0


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_a_message_over_the_bound_takes_no_more_memory_than_the_bound(qos: int) -> None:
    stream, _ = make_stream(make_in_flight(), limits=PacketLimits(packet=1000))
    packet = publish("big", bytes(10_000_000), qos, 2)
    tracemalloc.start()
    for at in range(0, len(packet) - 1, 1000):
        stream.feed(packet[at : at + 1000])
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 20_000


async def test_a_message_over_the_bound_is_not_acknowledged_before_its_last_byte_and_not_at_all_after_a_stop() -> None:
    in_flight = make_in_flight()
    sent: list[bytes] = []
    in_flight.begin_connection(Sent(sent))
    stream, others = make_stream(in_flight, limits=PacketLimits(packet=1000))
    data = publish("big", bytes(9000), 1, 2) + b"\xd0\x00"
    stream.feed(data[:-3])
    assert in_flight.take(TakesAll()) is None
    assert not sent
    in_flight.stop()
    stream.feed(data[-3:])
    assert in_flight.take(TakesAll()) is None
    assert not sent
    assert others == [(0xD0, b"")]


async def test_a_packet_over_the_bound_that_is_not_a_message_ends_the_connection() -> None:
    stream, _ = make_stream(make_in_flight(), limits=PacketLimits(packet=1000))
    with pytest.raises(MalformedPacket):
        stream.feed(b"\x90" + varint(2_000_000))


async def test_a_message_that_comes_in_a_million_pieces_takes_no_more_memory_than_its_bytes() -> None:
    in_flight = make_in_flight()
    stream, _ = make_stream(in_flight)
    packet = publish("t", bytes(300_000), 1)
    tracemalloc.start()
    for at in range(len(packet) - 1):
        stream.feed(packet[at : at + 1])
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2 * len(packet)
    stream.feed(packet[-1:])
    assert len(taken(in_flight)[0].payload) == 300_000
