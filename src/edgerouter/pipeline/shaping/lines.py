"""Messages as lines of text: the JSON Lines of the file sink, or one bare payload a line."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, BinaryIO, Final

import msgspec

from edgerouter.config.shaping import payload_of
from edgerouter.errors import EdgerouterError
from edgerouter.message import Message, Properties
from edgerouter.topics import check_name

MOST_BYTES: Final = 64 * 1024**2
"""Longest line."""
SPOOL: Final = "try"
"""Spool of messages that name none."""

_ID: Final = re.compile(r"([^-]+)-([1-9][0-9]{0,17})((?:[.~][0-9.~]*)?)")
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


class _Properties(msgspec.Struct, frozen=True):
    """As in the file sink's lines; `Properties` itself is stored as a list."""

    user: tuple[tuple[str, str], ...] = ()
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expiry: int | None = None
    payload_is_text: bool = False


class _Line(msgspec.Struct, frozen=True):
    topic: str
    payload: msgspec.Raw
    id: str = ""
    time: datetime | None = None
    qos: int = 0
    retained: bool = False
    properties: _Properties | None = None


def read(lines: BinaryIO, topic: str | None) -> Iterator[Message]:
    """Yield the message of each line that is not empty.

    Args:
        lines: such as standard input.
        topic: of all messages, which are bare payloads then; `None` = JSON Lines as the file sink writes them.

    Raises:
        EdgerouterError: a line cannot be read; it names the line.
    """
    decode = msgspec.json.Decoder(_Line).decode
    number = 0
    while line := lines.readline(MOST_BYTES + 1):
        number += 1
        if len(line) > MOST_BYTES:
            raise EdgerouterError(f"line {number}: longer than {MOST_BYTES} bytes")
        text = line.rstrip(b"\r\n")
        if topic is not None:
            yield Message(topic, text, time.time_ns(), spool=SPOOL, sequence=number)
        elif text:
            try:
                yield _message(decode(text), number)
            except (msgspec.DecodeError, ValueError, RecursionError) as error:
                raise EdgerouterError(f"line {number}: {error}; {_CURE}") from None


_CURE: Final = 'write {"topic": "a/b", "payload": 1} as the file sink does, or give --topic and one payload a line'


def _message(line: _Line, number: int) -> Message:
    check_name(line.topic)
    found = _ID.fullmatch(line.id)
    spool, sequence, part = (SPOOL, number, "") if found is None else (found[1], int(found[2]), found[3])
    properties = None if line.properties is None else Properties(**msgspec.structs.asdict(line.properties))
    received_at = time.time_ns() if line.time is None else _nanoseconds(line.time)
    return Message(line.topic, _payload(line.payload), received_at, line.qos, line.retained, properties, spool, sequence, part=part)


def _payload(raw: msgspec.Raw) -> bytes:
    """Return the payload; JSON keeps its text, to the digit of every number."""
    text = bytes(raw).strip()
    if text[:1] not in (b'"', b"{"):
        return text
    value: Any = msgspec.json.decode(text)
    return payload_of(value) if isinstance(value, str) or (isinstance(value, dict) and value.keys() == {"base64"}) else text


def _nanoseconds(moment: datetime) -> int:
    aware = moment if moment.tzinfo is not None else moment.replace(tzinfo=UTC)
    since = aware - _EPOCH
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + since.microseconds * 1000
