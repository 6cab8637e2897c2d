"""Cutting the broker's bytes into messages.

Covers also: edgerouter.mqtt.limits, edgerouter.mqtt.packets, edgerouter.sources.mqtt.drops.
"""

from __future__ import annotations

import struct
import time
import tracemalloc
from collections import Counter
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter import Properties
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.packets import MalformedPacket
from edgerouter.mqtt.properties import parse_properties
from edgerouter.sources.mqtt.in_flight import OVERHEAD
from edgerouter.sources.mqtt.stream import PublishStream
from support.mqtt_packets import publish, varint
from support.mqtt_source import TakesAll
from support.publishes import Sent, make_in_flight, make_stream, taken

publishes = st.tuples(
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20),
    st.one_of(st.binary(max_size=300), st.integers(16_000, 40_000).map(bytes)),
    st.integers(0, 2),
)


@given(wanted=st.lists(publishes, max_size=8), version5=st.booleans(), cuts=st.lists(st.integers(1, 5000), min_size=1, max_size=50))
async def test_however_the_bytes_are_cut_the_same_messages_come_out(
    wanted: list[tuple[str, bytes, int]], version5: bool, cuts: list[int]
) -> None:
    in_flight = make_in_flight()
    stream, others = make_stream(in_flight, version5=version5)
    properties = b"" if version5 else None
    data = b"".join(
        publish(topic, payload, qos, number + 1, properties=properties) + b"\xd0\x00"
        for number, (topic, payload, qos) in enumerate(wanted)
    )
    at = 0
    while at < len(data):
        size = cuts[at % len(cuts)]
        stream.feed(data[at : at + size])
        at += size
    assert [(message.topic, message.payload, message.qos) for message in taken(in_flight)] == wanted
    assert others == [(0xD0, b"")] * len(wanted)


async def test_each_message_of_qos_1_and_2_has_its_answer_in_the_order_received() -> None:
    in_flight = make_in_flight()
    sent: list[bytes] = []
    in_flight.begin_connection(Sent(sent))
    stream, _ = make_stream(in_flight)
    stream.feed(publish("t", b"", 1, 513) + publish("t", b"", 0) + publish("t", b"", 2, 7))
    delivery = in_flight.take(TakesAll())
    assert delivery is not None
    assert not sent
    delivery.acknowledge()
    assert sent == [b"\x40\x02\x02\x01\x50\x02\x00\x07"]


async def test_reading_stops_at_the_bound_and_goes_on_where_it_stopped() -> None:
    in_flight = make_in_flight(messages=3)
    stream, _ = make_stream(in_flight)
    stream.feed(b"".join(publish("t", b"%d" % number, 1, number + 1) for number in range(8)))
    assert in_flight.is_full
    assert stream.holds_packets
    seen: list[bytes] = []
    while delivery := in_flight.take(TakesAll()):
        assert len(delivery.messages) <= 3
        seen += [message.payload for message in delivery.messages]
        delivery.acknowledge()
        stream.feed(b"")
    assert seen == [b"%d" % number for number in range(8)]
    assert in_flight.unacknowledged == in_flight.unacknowledged_bytes == 0


async def test_far_beyond_the_bound_messages_are_left_to_the_broker() -> None:
    in_flight = make_in_flight(messages=3)
    stream, others = make_stream(in_flight)
    stream.feed(b"".join(publish("t", b"", 1, number + 1) for number in range(8)) + b"\xd0\x00", beyond=2)
    assert len(taken(in_flight)) == 6
    assert stream.skipped
    assert others == [(0xD0, b"")]


async def test_qos_0_beyond_its_bound_is_counted_and_the_rest_is_kept() -> None:
    dropped = Counter[str]()
    in_flight = make_in_flight(qos0=2 * (OVERHEAD + 10), dropped=dropped)
    stream, _ = make_stream(in_flight)
    stream.feed(publish("a", b"") * 5 + publish("b", b"", 1))
    in_flight.drops.report()
    assert dropped == {"a": 3}
    assert [message.topic for message in taken(in_flight)] == ["a", "a", "b"]
    stream.feed(publish("a", b""))
    assert [message.topic for message in taken(in_flight)] == ["a"]


async def test_drops_of_ever_new_topics_do_not_fill_the_memory() -> None:
    dropped = Counter[str]()
    in_flight = make_in_flight(qos0=1, dropped=dropped)
    stream, _ = make_stream(in_flight)
    for number in range(2500):
        stream.feed(publish(f"t/{number}", b""))
    assert len(in_flight.drops.by_topic) < 1000
    in_flight.drops.report()
    assert sum(dropped.values()) == 2500


async def test_after_stop_nothing_is_taken_and_other_packets_are_still_handled() -> None:
    in_flight = make_in_flight()
    stream, others = make_stream(in_flight)
    in_flight.stop()
    stream.feed(publish("t", b"", 1) + b"\xd0\x00")
    assert in_flight.take(TakesAll()) is None
    assert others == [(0xD0, b"")]


@pytest.mark.parametrize("size", [1, 3, 4, 5, 1000])
async def test_releases_of_messages_are_found_between_publishes_however_they_arrive(size: int) -> None:
    in_flight = make_in_flight()
    stream, others = make_stream(in_flight)
    released = [(0x62, number.to_bytes(2, "big")) for number in range(0x0A60, 0x0A66)]
    short = [bytes((first, 2)) + identifier for first, identifier in released]
    with_reason = b"\x62\x03\x0b\x00\x92"  # packet identifier not found
    data = short[0] + publish("t", b"1", 2) + b"".join(short[1:4]) + with_reason + b"".join(short[4:]) + publish("t", b"2", 1)
    for at in range(0, len(data), size):
        stream.feed(data[at : at + size])
    assert [message.payload for message in taken(in_flight)] == [b"1", b"2"]
    assert others == [*released[:4], (0x62, b"\x0b\x00\x92"), *released[4:]]


async def test_a_flood_of_releases_takes_no_memory_beside_its_bytes() -> None:
    stream = PublishStream(
        make_in_flight(), version5=False, duplicates=TakesAll(), other_packet=lambda *_: True, releases=lambda _: None
    )
    data = b"\x62\x02\x00\x01" * 2**18
    tracemalloc.start()
    try:
        stream.feed(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 4 * len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x32\x03\x00\x01t",
        b"\x36\x05\x00\x01t\x00\x01",
        b"\x30\x02\x00\x05",
        b"\x30\x00",
        b"\x30\x02\x00\x00",
    ],
    ids=["length of five bytes", "no packet id", "QoS 3", "topic longer than the packet", "empty packet", "empty topic"],
)
async def test_what_is_not_mqtt_is_refused_and_what_came_before_is_kept(data: bytes) -> None:
    in_flight = make_in_flight()
    stream, _ = make_stream(in_flight)
    with pytest.raises(MalformedPacket):
        stream.feed(publish("before", b"", 1) + data)
    assert in_flight.unacknowledged == 1
    assert [message.topic for message in taken(in_flight)] == ["before"]


@given(st.binary(max_size=200), st.booleans())
async def test_no_bytes_whatever_do_more_than_end_the_connection(data: bytes, version5: bool) -> None:
    in_flight = make_in_flight()
    stream, _ = make_stream(in_flight, version5=version5)
    with suppress(MalformedPacket):
        stream.feed(data)
    assert in_flight.unacknowledged == sum(message.qos > 0 for message in taken(in_flight))


@given(st.binary(max_size=60))
def test_properties_are_parsed_or_refused(data: bytes) -> None:
    packet = varint(len(data)) + data
    try:
        properties, end, _, _ = parse_properties(packet, 0, len(packet))
    except MalformedPacket:
        return
    assert end == len(packet)
    assert properties is None or isinstance(properties, Properties)


@pytest.mark.parametrize(
    "data",
    [b"\x7f\x00", b"\x23\x00\x01", b"\x03\x00\x05ab", b"\x02\x00", b"\x26\x00\x01a", b"\x0b\xff\xff\xff\xff\x01"],
    ids=["unknown", "topic alias", "string cut off", "number cut off", "pair cut off", "identifier too long"],
)
def test_a_property_that_is_wrong_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedPacket):
        parse_properties(varint(len(data)) + data, 0, len(data) + 1)


def test_a_subscription_identifier_alone_is_not_a_property_of_the_message() -> None:
    assert parse_properties(b"\x02\x0b\x05payload", 0, 10) == (None, 3, 0, False)


def pairs(count: int, name: bytes = b"n", value: bytes = b"v") -> bytes:
    return (b"\x26" + struct.pack("!H", len(name)) + name + struct.pack("!H", len(value)) + value) * count


def test_user_properties_beyond_their_number_are_left_off_and_never_looked_at() -> None:
    data = pairs(1_000_000)
    packet = varint(len(data)) + data
    began = time.perf_counter()
    properties, end, cost, cut = parse_properties(packet, 0, len(packet), PacketLimits(user_properties=100))
    assert time.perf_counter() - began < 0.1
    assert properties is not None
    assert properties.user == (("n", "v"),) * 100
    assert (end, cut) == (len(packet), True)
    assert cost >= 100 * 200


@pytest.mark.parametrize("piece", [b"\x0b\x01", b"\x01\x01", b"\x02\x00\x00\x00\x01", b"\x03\x00\x00"])
def test_no_property_repeated_without_end_holds_up_the_event_loop(piece: bytes) -> None:
    packet = varint(len(piece) * 1_000_000) + piece * 1_000_000
    began = time.perf_counter()
    _, end, _, cut = parse_properties(packet, 0, len(packet), PacketLimits())
    assert time.perf_counter() - began < 0.1
    assert (end, cut) == (len(packet), True)


def test_user_properties_beyond_their_bytes_are_left_off() -> None:
    data = pairs(10, b"name", b"x" * 60_000)
    packet = varint(len(data)) + data
    properties, end, _, cut = parse_properties(packet, 0, len(packet), PacketLimits(user_property_bytes=200_000))
    assert properties is not None
    assert len(properties.user) == 3
    assert (end, cut) == (len(packet), True)


async def test_a_message_whose_properties_are_too_many_is_kept_and_not_counted_as_dropped() -> None:
    dropped = Counter[str]()
    in_flight = make_in_flight(dropped=dropped)
    stream, _ = make_stream(in_flight, version5=True, limits=PacketLimits(user_properties=2))
    stream.feed(publish("t", b"payload", 1, properties=pairs(5)))
    in_flight.drops.report()
    (message,) = taken(in_flight)
    assert message.payload == b"payload"
    assert message.properties is not None
    assert len(message.properties.user) == 2
    assert not dropped


@pytest.mark.parametrize("properties", [pairs(500), pairs(10, b"n", b"x" * 1000 + "\U0001f600".encode()), b""])
async def test_the_memory_of_a_message_counts_against_the_bound(properties: bytes) -> None:
    in_flight = make_in_flight(size=10**8)
    stream, _ = make_stream(in_flight, version5=True)
    topic = "t" * 5000 + "\U0001f600"
    packets = [publish(topic, b"", 1, number + 1, properties=properties) for number in range(20)]
    tracemalloc.start()
    stream.feed(b"".join(packets))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 20 * 20_000 < size < in_flight.unacknowledged_bytes


async def test_a_flood_of_long_topics_does_not_fill_the_memory() -> None:
    in_flight = make_in_flight(qos0=1)
    stream, _ = make_stream(in_flight)
    tracemalloc.start()
    for number in range(3000):
        stream.feed(publish(f"{number}/" + "x" * 60_000, b""))
    in_flight.drops.report()
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert size < 2_000_000
