"""The step `compress` makes payloads smaller, and says what it did.

Covers: edgerouter.steps.compress, edgerouter.steps.payloads.
"""

from __future__ import annotations

import base64
import gzip
import zlib
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
import zstandard

from edgerouter import Message, Properties
from support.steps import chain, message

PAYLOAD = b'{"temperature": 21.5}' * 50


def compressed(payload: bytes = PAYLOAD, properties: Properties | None = None, **config: Any) -> Message:
    (item,) = chain({"type": "compress", **config}).apply([msgspec.structs.replace(message(payload), properties=properties)]).items
    return item.message


@pytest.mark.parametrize(
    ("algorithm", "decompress", "name"),
    [
        ("gzip", gzip.decompress, "gzip"),
        ("zlib", zlib.decompress, "deflate"),
        ("zstd", zstandard.ZstdDecompressor().decompress, "zstd"),
    ],
)
@pytest.mark.parametrize("payload", [PAYLOAD, b"", b"\xff\x00"])
def test_a_payload_comes_back_whole(algorithm: str, decompress: Callable[[bytes], bytes], name: str, payload: bytes) -> None:
    found = compressed(payload, algorithm=algorithm)
    assert decompress(found.payload) == payload
    assert found.properties is not None
    assert found.properties.user == (("content-encoding", name),)
    text = compressed(payload, algorithm=algorithm, base64=True)
    assert decompress(base64.b64decode(text.payload)) == payload
    assert text.properties is not None
    assert text.properties.user[1] == ("content-transfer-encoding", "base64")


@pytest.mark.parametrize("algorithm", ["gzip", "zlib", "zstd"])
def test_a_retry_after_a_crash_has_the_same_bytes(algorithm: str) -> None:
    assert compressed(algorithm=algorithm).payload == compressed(algorithm=algorithm).payload


def test_what_an_earlier_step_made_is_compressed() -> None:
    steps = chain({"type": "set", "fields": {"b": 2}}, {"type": "compress"})
    (item,) = steps.apply([message({"a": 1})]).items
    assert gzip.decompress(item.message.payload) == b'{"a":1,"b":2}'


def test_properties_are_kept_and_bytes_are_not_marked_as_text() -> None:
    given = Properties((("a", "b"),), "application/json", "answer", b"1", 60, payload_is_text=True)
    found = compressed(properties=given).properties
    assert found == msgspec.structs.replace(given, user=(*given.user, ("content-encoding", "gzip")), payload_is_text=False)
    found = compressed(properties=given, base64=True, mark=False).properties
    assert found == given


def test_a_payload_above_the_bound_is_left_alone_and_counted() -> None:
    steps = chain({"type": "compress", "max_bytes": "10KiB"})
    stored = message(b"x" * 10_241)
    assert [item.message for item in steps.apply([stored]).items] == [stored]
    assert steps.counted == {"1:compress": {"too large": 1}}
