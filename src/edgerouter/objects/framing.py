"""Encodes a batch as JSON Lines, raw lines, length-prefixed records, or one bare payload."""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from typing import Any, Literal

import msgspec

from edgerouter.message import Message, Properties
from edgerouter.objects.compression import Compression, compress
from edgerouter.topic_cache import TopicCache

Framing = Literal["jsonl", "jsonl-exact", "raw-lines", "length-prefixed", "payload"]
"""`jsonl`: one JSON object per line, with topic, time and id, and a JSON payload as JSON. `jsonl-exact`: the same with each
payload as text, or as base64 if it is not text, so that any JSON parser restores every byte. `raw-lines`: each payload and a
newline. `length-prefixed`: each payload after its length as 4 bytes, big-endian. `payload`: only the payload of one message,
and nothing else."""

_CONTENT_TYPES: dict[Framing, str] = {
    "jsonl": "application/x-ndjson",
    "jsonl-exact": "application/x-ndjson",
    "raw-lines": "text/plain",
    "length-prefixed": "application/octet-stream",
    "payload": "application/octet-stream",
}
_LENGTH = struct.Struct(">I")
_NO_PROPERTIES = Properties()
_json = msgspec.json.encode
_check = msgspec.json.Decoder(msgspec.Raw).decode  # checks the text against the strict grammar and builds nothing
_LINE = b'{"id":"%b-%d%b","topic":%b,"time":"%b.%06dZ","qos":%d,"retained":%b,"payload":%b%b}\n'


def encode(batch: Sequence[Message], framing: Framing, compression: Compression = "none") -> bytes:
    """Return the bytes of one object; equal batches give equal bytes.

    Raises:
        ValueError: `payload` framing of a batch that is not exactly one message.
    """
    return compress(_FRAMERS[framing](batch), compression)


def content_type(framing: Framing) -> str:
    """Return the media type of an object before compression."""
    return _CONTENT_TYPES[framing]


def size_of(message: Message, framing: Framing) -> int:
    """Return an upper bound, nearly exact, of the bytes that a message adds to an object before compression."""
    return sizes_of([message], framing)[0]


def sizes_of(batch: Sequence[Message], framing: Framing) -> list[int]:
    """Return `size_of` of each message."""
    if framing in ("jsonl", "jsonl-exact"):
        return _line_sizes(batch, exact=framing == "jsonl-exact")
    overhead = _OVERHEADS[framing]
    return [len(message.payload) + overhead for message in batch]


_OVERHEADS: dict[Framing, int] = {"raw-lines": 1, "length-prefixed": _LENGTH.size, "payload": 0}


def json_of(payload: bytes) -> bytes:
    """Return one line of JSON that represents a payload.

    Strict JSON keeps its text, to the digit of every number; white space is removed only where it would break the line.
    Any other UTF-8 text becomes a JSON string, any other bytes `{"base64": "..."}`.
    """
    try:
        if not payload.isascii():
            payload.decode()
        _check(payload)
    except UnicodeDecodeError:
        return b'{"base64":"%b"}' % base64.b64encode(payload)
    except (msgspec.DecodeError, RecursionError):
        return _json(payload.decode())
    if b"\n" in payload or b"\r" in payload:
        return msgspec.json.format(payload, indent=-1)  # a bare line break occurs only between tokens, and tokens keep their text
    return payload


def _exact(payload: bytes) -> bytes:
    """Return a JSON string equal to the payload byte for byte; `{"base64": "..."}` for bytes that are not UTF-8."""
    try:
        return _json(payload.decode())
    except UnicodeDecodeError:
        return b'{"base64":"%b"}' % base64.b64encode(payload)


def _properties(properties: Properties) -> bytes:
    """Return the properties that are set, with user properties as pairs because a name may repeat."""
    if properties == _NO_PROPERTIES:
        return b""
    present: dict[str, Any] = {name: value for name in Properties.__struct_fields__ if (value := getattr(properties, name))}
    if properties.expiry is not None:
        present["expiry"] = properties.expiry
    return b',"properties":' + _json(present)


def _jsonl(batch: Sequence[Message], *, exact: bool = False) -> bytes:
    lines = []
    second, stamp = None, b""
    topic, topic_json = "", b'""'
    spool, spool_json = "", b""
    payloads = b"".join([message.payload for message in batch])
    plain = payloads.isascii() and b"\n" not in payloads and b"\r" not in payloads  # one check of all in place of three each
    for message in batch:
        now, nanoseconds = divmod(message.received_at, 1_000_000_000)
        if now != second:
            second, stamp = now, datetime.fromtimestamp(now, UTC).isoformat()[:19].encode()
        if message.topic != topic:
            topic = message.topic
            topic_json = _text(topic)
        if message.spool != spool:
            spool = message.spool
            spool_json = _text(spool)[1:-1]
        payload = message.payload
        if exact:
            payload = _exact(payload)
        elif plain:
            try:
                _check(payload)
            except (msgspec.DecodeError, RecursionError):
                payload = _json(payload.decode())
        else:
            payload = json_of(payload)
        lines.append(
            _LINE
            % (
                spool_json,
                message.sequence,
                message.part.encode(),
                topic_json,
                stamp,
                nanoseconds // 1000,
                message.qos,
                b"true" if message.retained else b"false",
                payload,
                b"" if message.properties is None else _properties(message.properties),
            )
        )
    return b"".join(lines)


def _line_sizes(batch: Sequence[Message], *, exact: bool) -> list[int]:
    sizes = []
    texts = _TEXT_SIZE
    for message in batch:
        payload = message.payload
        if exact:
            size = len(_exact(payload))
        else:
            try:
                _check(payload)
                size = len(payload) if payload.isascii() else len(json_of(payload))
            except (msgspec.DecodeError, RecursionError):
                size = len(json_of(payload))
        if message.properties is not None:
            size += len(_properties(message.properties))
        size += texts[message.topic] + texts[message.spool] + len(str(message.sequence)) + len(message.part)
        sizes.append(_LINE_SIZE + size)
    return sizes


_LINE_SIZE = len(_LINE % (b"", 0, b"", b"", b"2026-01-01T00:00:00", 0, 0, b"false", b"", b"")) - len("0") - len('""')


def _text(text: str) -> bytes:
    try:
        return _json(text)
    except UnicodeEncodeError:
        return _json(text.encode(errors="replace").decode())  # half a surrogate pair is not text in any encoding


_TEXT_SIZE: TopicCache[str, int] = TopicCache(lambda text: len(_text(text)))


def _raw_lines(batch: Sequence[Message]) -> bytes:
    return b"".join([message.payload + b"\n" for message in batch])


def _length_prefixed(batch: Sequence[Message]) -> bytes:
    return b"".join([_LENGTH.pack(len(message.payload)) + message.payload for message in batch])


def _payload(batch: Sequence[Message]) -> bytes:
    if len(batch) != 1:
        raise ValueError(f"payload framing takes one message an object, not {len(batch)}")
    return batch[0].payload


_FRAMERS: dict[Framing, Callable[[Sequence[Message]], bytes]] = {
    "jsonl": _jsonl,
    "jsonl-exact": partial(_jsonl, exact=True),
    "raw-lines": _raw_lines,
    "length-prefixed": _length_prefixed,
    "payload": _payload,
}
