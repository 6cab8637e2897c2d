"""Headers of a NATS message, and the properties of a message: each made from the other."""

from __future__ import annotations

import re
from base64 import b64decode, b64encode
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final
from urllib.parse import quote, unquote

from edgerouter import Message, Properties, Rejected, TopicCache
from edgerouter.receiving import received_properties

MOST_HEADER_BYTES: Final = 65_535
"""Of a message in a stream (server error 10097)."""
MOST_USER_PROPERTIES: Final = 1000
"""Of a received message; those beyond are cut off."""
_VERSION: Final = b"NATS/1.0\r\n"
_ID: Final = b"Nats-Msg-Id: "
"""A stream drops a message whose id it holds already, within its duplicate window."""
_EACH: Final = (_ID, b"Edgerouter-Time: ")
_NAME: Final = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_RESERVED: Final = re.compile(r"(nats-.*|edgerouter-.*|kv-operation|content-type|status|description)", re.IGNORECASE)
"""Names that the server or a client acts upon, or that hold something else here."""
_PROPERTY: Final = "edgerouter-property"
_CONTENT_TYPE: Final = "content-type"
_RESPONSE_TOPIC: Final = "edgerouter-response-topic"
_CORRELATION: Final = "edgerouter-correlation-data"
_RETAINED: Final = "edgerouter-retained"
_OWN: Final = re.compile(r"nats-.*|edgerouter-(?!property).*|content-type", re.IGNORECASE)
_TIME_BYTES: Final = len("Edgerouter-Time: 2026-11-20T10:00:00.123456Z\r\n")
_FRAME_BYTES: Final = len(_VERSION) + len(_ID) + 2 + _TIME_BYTES + 2


class Headers:
    """Renders headers for one sink.

    Args:
        constant: lines that every message gets.
    """

    def __init__(self, constant: bytes = b"") -> None:
        self._constant = constant
        self._second, self._stamp = -1, b""
        self._properties: TopicCache[Properties, bytes] = TopicCache(_lines)

    def of(self, message: Message) -> bytes:
        """Return the headers of a message, from the line of the version to the empty line.

        Raises:
            Rejected: they are longer than a stream takes.
        """
        second, nanosecond = divmod(message.received_at, 1_000_000_000)
        if second != self._second:
            self._second, self._stamp = second, datetime.fromtimestamp(second, UTC).isoformat()[:19].encode()
        more = self._constant
        if message.retained:
            more += b"Edgerouter-Retained: true\r\n"
        if message.properties is not None:
            more += self._properties[message.properties]
            if len(more) > MOST_HEADER_BYTES - 1024:
                raise Rejected(f"the message's properties are longer than the {MOST_HEADER_BYTES} bytes of a stream's headers")
        return b"%b%b%b\r\nEdgerouter-Time: %b.%06dZ\r\n%b\r\n" % (
            _VERSION,
            _ID,
            message.id.encode(),
            self._stamp,
            nanosecond // 1000,
            more,
        )

    def size_of(self, message: Message) -> int:
        """Return the bytes of `of`, or of what it would be."""
        size = _FRAME_BYTES + len(message.id) + len(self._constant)
        if message.retained:
            size += len(b"Edgerouter-Retained: true\r\n")
        return size if message.properties is None else size + len(self._properties[message.properties])


def _lines(properties: Properties) -> bytes:
    lines = [_user_line(name, value) for name, value in properties.user]
    if properties.content_type is not None:
        lines.append(_line("Content-Type", properties.content_type))
    if properties.response_topic is not None:
        lines.append(_line("Edgerouter-Response-Topic", properties.response_topic))
    if properties.correlation_data is not None:
        lines.append(f"Edgerouter-Correlation-Data: {b64encode(properties.correlation_data).decode()}\r\n")
    return "".join(lines).encode(errors="replace")


def _user_line(name: str, value: str) -> str:
    if _NAME.fullmatch(name) and not _RESERVED.fullmatch(name) and _is_plain(value):
        return f"{name}: {value}\r\n"
    return f"Edgerouter-Property: {quote(name, safe='', errors='replace')}={quote(value, safe='', errors='replace')}\r\n"


def _line(name: str, value: str) -> str:
    """Write a line; a value that no header holds is percent-encoded, and marked by `%` alone in front."""
    return f"{name}: {value}\r\n" if _is_plain(value) and value[:1] != "%" else f"{name}: %{quote(value, errors='replace')}\r\n"


def _is_plain(value: str) -> bool:
    return value.isprintable() and value == value.strip()


class ReceivedProperties:
    """Properties of received messages, remembered by the headers that have them: those of a device seldom change."""

    def __init__(self) -> None:
        self._known: TopicCache[bytes, tuple[Properties | None, bool]] = TopicCache(
            lambda lines: properties_of(received(_VERSION + lines)), weigh=lambda lines, _: 4 * len(lines) + 256
        )

    def of(self, headers: bytes) -> tuple[Properties | None, bool]:
        """Return the properties of a message with these headers, and True if it was retained."""
        at = len(_VERSION)
        # the lines that differ with each message come first, and hold no properties
        while headers.startswith(_EACH, at):
            at = headers.find(b"\r\n", at) + 2
            if at < len(_VERSION):
                return None, False
        return self._known[headers[at:]]


def received(headers: bytes) -> list[tuple[str, str]]:
    """Return names and values of a message's headers, in order."""
    pairs = []
    for line in headers.split(b"\r\n", MOST_USER_PROPERTIES + 1)[1 : MOST_USER_PROPERTIES + 1]:
        name, colon, value = line.partition(b":")
        if colon:
            pairs.append((name.strip().decode(errors="replace"), value.strip().decode(errors="replace")))
    return pairs


def properties_of(pairs: list[tuple[str, str]]) -> tuple[Properties | None, bool]:
    """Return the properties of a message with these headers, and True if it was retained."""
    if not pairs:
        return None, False
    own = {name.lower(): value for name, value in pairs if _OWN.fullmatch(name)}
    user = tuple([_user(name, value) for name, value in pairs if not _OWN.fullmatch(name)])
    attributes = {
        "content_type": _text(own.get(_CONTENT_TYPE)),
        "response_topic": _text(own.get(_RESPONSE_TOPIC)),
    }
    given = {name: value for name, value in attributes.items() if value is not None}
    return received_properties(given, user, _data(own.get(_CORRELATION))), own.get(_RETAINED) == "true"


def _user(name: str, value: str) -> tuple[str, str]:
    if name.lower() != _PROPERTY:
        return name, value
    quoted_name, _, quoted_value = value.partition("=")
    return unquote(quoted_name), unquote(quoted_value)


def _text(value: str | None) -> str | None:
    return unquote(value[1:]) if value is not None and value.startswith("%") else value


def _data(value: str | None) -> bytes | None:
    if value is None:
        return None
    try:
        return b64decode(value, validate=True)
    except ValueError:
        return value.encode()


def carries_id_of(spool: str) -> Callable[[bytes], bool]:
    """Return the test of headers for an id of this spool: the message was sent by this router."""
    line = b"\r\n" + _ID + spool.encode() + b"-"
    return lambda headers: line in headers
