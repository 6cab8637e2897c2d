"""MQTT packets as bytes: cutting what was read into packets, and building the few that a client of ours sends itself."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

PUBLISH: Final = 0x30
PUBACK: Final = 0x40
PUBREC: Final = 0x50
PUBREL: Final = 0x62
"""With the flags that the specification demands."""
PUBCOMP: Final = 0x70
PINGRESP: Final = 0xD0
DISCONNECT: Final = b"\xe0\x00"
"""In MQTT 5, too: normal disconnection, without a last will (MQTT 5.0, 3.14.2.1)."""
FORGET_SESSION: Final = b"\xe0\x07\x00\x05\x11\x00\x00\x00\x00"
"""A DISCONNECT of MQTT 5 that lets the session expire at once (3.14.2.2.2)."""


class MalformedPacket(ValueError):
    """The other side sent something that is not MQTT."""


def encode_length(value: int) -> bytes:
    """Encode a variable byte integer."""
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def encode_topic(topic: str) -> bytes:
    """Encode a topic with its length."""
    name = topic.encode()
    return len(name).to_bytes(2) + name


def put_publish(parts: list[bytes], first: int, topic: bytes, rest: bytes, payload: bytes) -> int:
    """Append a PUBLISH in pieces; return its length.

    Args:
        parts: of all packets that are sent together.
        first: byte of the packet.
        topic: encoded.
        rest: packet id, except with QoS 0, and the properties of MQTT 5 with their length.
        payload: of the message.
    """
    length = len(topic) + len(rest) + len(payload)
    if length < 128:
        head = bytes((first, length))
    elif length < 16_384:
        head = bytes((first, length & 127 | 128, length >> 7))
    else:
        head = bytes((first,)) + encode_length(length)
    parts += (head, topic, rest, payload)
    return len(head) + length


def encode_publish(topic: str, payload: bytes, qos: int, identifier: int, *, retain: bool, again: bool, properties: bytes) -> bytes:
    """Encode a PUBLISH; `properties` are those of MQTT 5 with their length, and empty for 3.1.1."""
    parts: list[bytes] = []
    rest = identifier.to_bytes(2) + properties if qos else properties
    put_publish(parts, PUBLISH | again << 3 | qos << 1 | retain, encode_topic(topic), rest, payload)
    return b"".join(parts)


class PacketReader:
    """Cuts bytes into packets, for a client that expects only short ones.

    Args:
        on_packet: gets the first byte and the body; returns false when the rest is of no interest any more.
        largest: bytes of a packet. A larger PUBLISH, for which this client did not ask, is discarded while it streams by.
        on_pubacks: gets the bytes that were read and the offset of a PUBACK; handles as many as follow each other, and returns
            the offset behind them.
    """

    def __init__(
        self,
        on_packet: Callable[[int, bytes], bool],
        *,
        largest: int,
        on_pubacks: Callable[[bytearray, int], int] | None = None,
    ) -> None:
        self._on_packet = on_packet
        self._on_pubacks = on_pubacks
        self._largest = largest
        self._held = bytearray()
        self._discard = 0

    def feed(self, data: bytes) -> None:
        """Parse bytes that were read.

        Raises:
            MalformedPacket: this is not MQTT; the connection cannot be used any more.
        """
        if self._discard:
            gone = min(self._discard, len(data))
            self._discard -= gone
            data = data[gone:]
        held = self._held
        held += data
        at, pubacks = 0, self._on_pubacks
        while True:
            if pubacks is not None and at < len(held) and held[at] == PUBACK:
                at = pubacks(held, at)
            if (found := parse_header(held, at)) is None:
                break
            start, length = found
            command = held[at]
            if length > self._largest:
                if command & 0xF0 != PUBLISH:
                    raise MalformedPacket(f"a packet 0x{command:02x} of {length} bytes")
                self._discard = max(0, start + length - len(held))
                at = min(len(held), start + length)
                continue
            if start + length > len(held):
                break
            at = start + length
            if not self._on_packet(command, bytes(held[start:at])):
                at = len(held)
                break
        del held[:at]


def parse_header(data: bytes | bytearray, at: int) -> tuple[int, int] | None:
    """Return where the body starts and its length; `None` when the header is not complete."""
    length = 0
    for place in range(4):
        where = at + 1 + place
        if where >= len(data):
            return None
        byte = data[where]
        length |= (byte & 127) << (7 * place)
        if byte < 128:
            return where + 1, length
    raise MalformedPacket("a packet's length is not a variable byte integer")
