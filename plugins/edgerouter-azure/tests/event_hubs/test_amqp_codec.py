"""The test server's own codec: it reads what it writes, and refuses what the specification forbids.

Covers: tests/support/amqp.
"""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from support.amqp.codec import Array, Described, MalformedAmqp, Symbol, Timestamp, UByte, UInt, ULong, UShort, decode_all, encode
from support.amqp.message import AmqpMessage, read_message
from support.amqp.performatives import Attach, Transfer, frame, read_performative

simple = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False), st.text(max_size=400),
    st.binary(max_size=400),
    st.builds(ULong, st.integers(0, 2**64 - 1)), st.builds(UInt, st.integers(0, 2**32 - 1)), st.builds(UByte, st.integers(0, 255)),
    st.builds(UShort, st.integers(0, 65535)), st.builds(Timestamp, st.integers(0, 2**62)), st.uuids(),
    st.builds(Symbol, st.text("abc:-", max_size=300)), st.builds(Array, st.lists(st.text(max_size=30), min_size=1)),
)  # fmt: skip
values = st.recursive(simple, lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=9), inner, max_size=6))


@settings(deadline=None)
@given(st.lists(values, max_size=4))
def test_what_is_encoded_is_decoded(written: list[Any]) -> None:
    data = b"".join(map(encode, written))
    assert decode_all(data) == written


@settings(deadline=None)
@given(st.binary(max_size=60))
def test_any_bytes_are_decoded_or_refused(data: bytes) -> None:
    try:
        decode_all(data)
        read_message(data)
    except MalformedAmqp:
        pass


@pytest.mark.parametrize(
    "data",
    [
        b"\xa1\x05abc", b"\xa1\x01\xff", b"\xa3\x02\xc3\xbc", b"\xc0\x02\x02\x40", b"\xc1\x03\x03\x40\x40",
        b"\xc1\x05\x04\x40\x40\x40\x40", b"\x56\x02", b"\x3f", b"\xe0\x04\x01\x50\x01\x02", b"\x00",
    ],
)  # fmt: skip
def test_what_the_specification_forbids_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedAmqp):
        decode_all(data)


def test_a_performative_is_checked_field_by_field() -> None:
    good = Transfer(handle=1, delivery_id=2, delivery_tag=b"t", message_format=3)
    read, payload = read_performative(frame(0, good, b"rest")[8:])
    assert (read, payload) == (good, b"rest")
    for bad in (Described(ULong(0x14), [None]), Described(ULong(0x14), ["handle"]), Described(ULong(0x99), []), [1]):
        with pytest.raises(MalformedAmqp):
            read_performative(encode(bad))
    with pytest.raises(MalformedAmqp, match="without name"):
        read_performative(Attach(handle=1, role=True).encode())


@pytest.mark.parametrize(
    "sections",
    [
        [Described(ULong(0x75), b"a"), Described(ULong(0x73), [])],
        [Described(ULong(0x74), {"list": [1]}), Described(ULong(0x75), b"")],
        [Described(ULong(0x72), {"not a symbol": 1}), Described(ULong(0x75), b"")],
        [Described(ULong(0x75), b""), Described(ULong(0x77), 1)],
        [],
    ],
    ids=["out of order", "a compound property", "a wrong key", "two bodies", "no body"],
)
def test_a_message_has_its_sections_in_order_and_one_body(sections: list[Any]) -> None:
    with pytest.raises(MalformedAmqp):
        read_message(b"".join(map(encode, sections)))


def test_a_message_is_read_as_it_was_written() -> None:
    message = AmqpMessage(
        annotations={"x-opt-partition-key": "k"},
        properties={"message-id": str(uuid.uuid4())},
        application_properties={"a": 1},
        data=[b"d"],
    )
    assert read_message(message.encode()) == message
