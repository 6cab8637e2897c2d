"""Lines that the file sink writes are read to the byte, and a line that cannot be read is named."""

from __future__ import annotations

import io

import pytest

from edgerouter.errors import EdgerouterError
from edgerouter.message import Message, Properties
from edgerouter.objects.framing import Framing, encode
from edgerouter.pipeline.shaping.lines import read

START = 1_700_000_000_000_001_000
PAYLOADS = [b'{"temperature": 21.50}', b"21.5", b"hot", b"", b"\xff\x00", b"1e999", b"[1, 2]", "gr\u00fcn".encode()]


@pytest.mark.parametrize("framing", ["jsonl", "jsonl-exact"])
def test_lines_of_the_file_sink_are_read_to_the_byte(framing: Framing) -> None:
    properties = Properties(user=(("a", "b"), ("a", "c")), correlation_data=b"\x01", expiry=5)
    stored = [
        Message("a/b", payload, START, 1, retained=True, properties=properties, spool="edge", sequence=number, part=".2")
        for number, payload in enumerate(PAYLOADS, start=1)
    ]
    assert list(read(io.BytesIO(encode(stored, framing)), None)) == stored


def test_with_a_topic_each_line_is_a_payload() -> None:
    found = list(read(io.BytesIO(b'{"a": 1}\n\nhot'), "a/b"))
    assert [(message.id, message.topic, message.payload) for message in found] == [
        ("try-1", "a/b", b'{"a": 1}'),
        ("try-2", "a/b", b""),
        ("try-3", "a/b", b"hot"),
    ]


def test_a_line_needs_no_more_than_topic_and_payload() -> None:
    (message,) = read(io.BytesIO(b'\n{"topic": "a", "payload": 1}\n'), None)
    assert (message.id, message.payload) == ("try-2", b"1")


@pytest.mark.parametrize(
    "line",
    [b"x", b"[]", b'{"topic": "a"}', b'{"topic": "a/#", "payload": 1}', b'{"topic": "a", "payload": {"base64": "%"}}', b"[" * 9999],
)
def test_a_line_that_cannot_be_read_is_named(line: bytes) -> None:
    with pytest.raises(EdgerouterError, match=r"^line 2: .*--topic"):
        list(read(io.BytesIO(b'{"topic": "a", "payload": 1}\n' + line), None))
