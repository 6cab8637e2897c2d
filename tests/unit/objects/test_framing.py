"""Framing: what a batch looks like in bytes, and that no payload is changed by it.

Covers also: edgerouter.objects.compression.
"""

from __future__ import annotations

import base64
import gzip
import json
import struct
from typing import Any, get_args

import msgspec
import pytest
import zstandard
from hypothesis import example, given
from hypothesis import strategies as st

from edgerouter import Message, Properties
from edgerouter.objects import Compression, Framing, content_encoding, content_type, encode, infer_compression, size_of

NOON = 1_795_176_896_789_012_345


def message(payload: bytes, topic: str = "a/b", **more: Any) -> Message:
    return Message(topic, payload, NOON, **{"spool": "0a1b", "sequence": 5, **more})


def line(payload: bytes, **more: Any) -> bytes:
    """The line of a message, which must be one line and strict JSON."""
    encoded = encode([message(payload, **more)], "jsonl")
    assert encoded.count(b"\n") == 1
    assert encoded.endswith(b"\n")
    assert b"\r" not in encoded
    json.loads(encoded, parse_constant=lambda constant: pytest.fail(f"{constant} is not JSON"))
    return encoded


def payload_of(encoded: bytes) -> bytes:
    class Line(msgspec.Struct):
        payload: msgspec.Raw

    return bytes(msgspec.json.decode(encoded, type=Line).payload)


def test_a_line_holds_the_whole_message() -> None:
    encoded = line(b'{"t": 21.50}', qos=1, retained=True)

    assert encoded == (
        b'{"id":"0a1b-5","topic":"a/b","time":"2026-11-20T12:14:56.789012Z","qos":1,"retained":true,"payload":{"t": 21.50}}\n'
    )


def test_properties_are_written_when_there_are_any() -> None:
    properties = Properties(
        user=(("k", "1"), ("k", "2")), content_type="text/csv", correlation_data=b"\x00\xff", expiry=0, payload_is_text=True
    )

    assert json.loads(line(b"1", properties=properties))["properties"] == {
        "user": [["k", "1"], ["k", "2"]],
        "content_type": "text/csv",
        "correlation_data": base64.b64encode(b"\x00\xff").decode(),
        "expiry": 0,
        "payload_is_text": True,
    }
    assert "properties" not in json.loads(line(b"1", properties=Properties()))


@pytest.mark.parametrize(
    "payload",
    [
        b'{"a":1}',
        b"12345678901234567890123",
        b"1.10",
        b"1e400",
        b"-0",
        b'{"a":1,"a":2}',
        '"ü\u2028"'.encode(),
        b'"\\ud83d\\ude00"',
        b"null",
    ],
)
def test_strict_json_stays_as_it_was_written(payload: bytes) -> None:
    assert payload_of(line(payload)) == payload


@pytest.mark.parametrize(
    ("payload", "written"),
    [
        (b'{\r\n  "a": [1.10,\n 12345678901234567890123]\n}\n', b'{"a":[1.10,12345678901234567890123]}'),
        (b'"\\n"\n', b'"\\n"'),
    ],
)
def test_json_over_several_lines_becomes_one_line_and_keeps_its_values(payload: bytes, written: bytes) -> None:
    assert payload_of(line(payload)) == written


@pytest.mark.parametrize(
    "payload", [b"", b"21.5 C", b"NaN", b"01", b"{", b"[1,]", b"a\nb", b'"\\ud800"', b"\x00", "ü".encode(), b"[" * 5000]
)
def test_text_that_is_not_strict_json_becomes_a_string(payload: bytes) -> None:
    assert json.loads(line(payload))["payload"] == payload.decode()


@pytest.mark.parametrize("payload", [b"\xff\x00", b'"\xff"', b'{"a":"\xed\xa0\x80"}'])
def test_bytes_that_are_not_text_become_base64(payload: bytes) -> None:
    assert json.loads(line(payload))["payload"] == {"base64": base64.b64encode(payload).decode()}


def test_a_hostile_topic_stays_one_line() -> None:
    assert json.loads(line(b"1", topic='a\n"/\x00ü'))["topic"] == 'a\n"/\x00ü'
    assert json.loads(line(b"1", topic="half \ud800"))["topic"] == "half ?"


JSON_TEXTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)
PAYLOADS = (
    st.binary()
    | st.text().map(str.encode)
    | JSON_TEXTS.map(lambda value: json.dumps(value).encode())
    | JSON_TEXTS.map(lambda value: json.dumps(value, indent=1, ensure_ascii=False).encode(errors="replace"))
)


def is_text(payload: bytes) -> bool:
    try:
        payload.decode()
    except UnicodeDecodeError:
        return False
    return True


@given(st.lists(PAYLOADS, max_size=5))
def test_each_message_is_one_line_and_its_payload_can_be_read_back(payloads: list[bytes]) -> None:
    lines = encode([message(payload, sequence=number) for number, payload in enumerate(payloads)], "jsonl").split(b"\n")

    assert lines.pop() == b""
    assert len(lines) == len(payloads)
    for written, payload in zip(lines, payloads, strict=True):
        value = json.loads(written)["payload"]
        if not is_text(payload):
            assert base64.b64decode(value["base64"]) == payload
        elif isinstance(value, str) and value.encode() == payload:
            pass
        else:
            assert value == json.loads(payload)


@given(st.lists(PAYLOADS, max_size=5))
@example([b'"a"', b"a", b'{"base64": "YQ=="}', b'{\n"a":  1.0}\r\n', b"", b"1e400", b"\xff"])
def test_exact_lines_give_every_byte_back_through_any_parser_of_json(payloads: list[bytes]) -> None:
    """`"a"` and `a`, white space, numbers to the digit: differences that `jsonl` leaves to the reader's parser, or loses."""
    lines = encode([message(payload, sequence=number) for number, payload in enumerate(payloads)], "jsonl-exact").split(b"\n")

    assert lines.pop() == b""
    values = [json.loads(line)["payload"] for line in lines]
    assert [value.encode() if isinstance(value, str) else base64.b64decode(value["base64"]) for value in values] == payloads


@given(
    st.lists(PAYLOADS, max_size=4), st.text(max_size=600), st.sampled_from(("jsonl", "jsonl-exact", "raw-lines", "length-prefixed"))
)
def test_sizes_are_never_too_small_and_hardly_too_large(payloads: list[bytes], topic: str, framing: Framing) -> None:
    """A batch's bound in bytes is met within a few bytes a message."""
    batch = [
        message(payload, topic, sequence=10**number, retained=number % 2 == 0, properties=Properties(user=(("a", topic[:9]),)))
        for number, payload in enumerate(payloads)
    ]
    real = len(encode(batch, framing))
    told = sum(size_of(each, framing) for each in batch)

    assert real <= told <= real + 8 * len(batch) + sum(payload.count(b"\n") * 100 + payload.count(b"\r") for payload in payloads)


def test_raw_lines_are_the_payloads() -> None:
    assert encode([message(b"one"), message(b"two")], "raw-lines") == b"one\ntwo\n"


def test_length_prefixed_records_can_be_read_back_whatever_they_hold() -> None:
    payloads = [b"", b"\n\x00", b"x" * 70_000]
    encoded = encode([message(payload) for payload in payloads], "length-prefixed")

    read = []
    while encoded:
        (size,) = struct.unpack_from(">I", encoded)
        read.append(encoded[4 : 4 + size])
        encoded = encoded[4 + size :]
    assert read == payloads


def test_payload_framing_takes_exactly_one_message() -> None:
    assert encode([message(b"\x00\xff")], "payload") == b"\x00\xff"
    with pytest.raises(ValueError, match="one message an object"):
        encode([message(b"a"), message(b"b")], "payload")


def test_compressed_objects_are_the_same_bytes_at_each_retry() -> None:
    batch = [message(b'{"n":%d}' % number, sequence=number) for number in range(100)]
    plain = encode(batch, "jsonl")

    assert encode(batch, "jsonl", "gzip") == encode(batch, "jsonl", "gzip")
    assert gzip.decompress(encode(batch, "jsonl", "gzip")) == plain
    assert encode(batch, "jsonl", "gzip")[4:8] == bytes(4)  # no time in the header
    assert encode(batch, "jsonl", "zstd") == encode(batch, "jsonl", "zstd")
    assert zstandard.ZstdDecompressor().decompress(encode(batch, "jsonl", "zstd")) == plain


@pytest.mark.parametrize(("key", "compression"), [("a.jsonl.gz", "gzip"), ("a.zst", "zstd"), ("a.jsonl", "none"), ("gz", "none")])
def test_compression_is_read_from_the_end_of_a_key(key: str, compression: Compression) -> None:
    assert infer_compression(key) == compression


def test_every_framing_has_a_type_and_every_compression_an_encoding() -> None:
    assert {content_type(framing) for framing in get_args(Framing)} <= {
        "application/x-ndjson",
        "text/plain",
        "application/octet-stream",
    }
    assert [content_encoding(compression) for compression in get_args(Compression)] == [None, "gzip", "zstd"]
