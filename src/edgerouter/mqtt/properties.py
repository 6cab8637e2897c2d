"""MQTT 5 properties of a publish, parsed from its packet and encoded for one (MQTT 5.0, 2.2.2 and 3.3.2.3)."""

from __future__ import annotations

from typing import Final

from edgerouter.message import Properties
from edgerouter.mqtt.limits import PacketLimits
from edgerouter.mqtt.packets import MalformedPacket, encode_length

_UNBOUNDED: Final = PacketLimits(user_properties=1 << 30, user_property_bytes=1 << 30)
_OTHERS: Final = 64
"""Properties of other kinds: five that a publish has once, and a subscription identifier for each subscription that it matches."""
_PAIR: Final = 224
"""Bytes of memory that a user property uses beside those of its packet: a tuple and two strings."""
WIDEST: Final = 3
"""Bytes beyond its own that a byte of UTF-8 takes at most, in a string where a single character is wide."""


def parse_length(data: bytes, at: int) -> tuple[int, int]:
    """Return a variable byte integer and where it ends.

    Raises:
        MalformedPacket: longer than four bytes, or cut off.
    """
    value = 0
    for place in range(4):
        try:
            byte = data[at + place]
        except IndexError:
            break
        value |= (byte & 127) << (7 * place)
        if byte < 128:
            return value, at + place + 1
    raise MalformedPacket("a length is not a variable byte integer")


def parse_properties(  # noqa: C901, PLR0912, PLR0915  (one branch a property)
    data: bytes, at: int, limit: int, bounds: PacketLimits = _UNBOUNDED
) -> tuple[Properties | None, int, int, bool]:
    """Parse the properties that start at `at` in a packet that ends at `limit`.

    Properties beyond the bounds are left off without being looked at: what a device sends must not hold up the event loop.

    Returns:
        The properties, `None` if none concerns the receiver; the offset of the payload; the bytes of memory that they use
        beyond those of the packet; and True if some were cut off.

    Raises:
        MalformedPacket: an unknown property, or one that is cut off.
    """
    length, at = parse_length(data, at)
    start, end = at, at + length
    if end > limit:
        raise MalformedPacket("the properties are longer than their packet")
    user: list[tuple[str, str]] = []
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expiry: int | None = None
    payload_is_text = False
    concerned = False
    left = bounds.user_properties + _OTHERS
    last = at + bounds.user_property_bytes
    cut = False
    while at < end:
        left -= 1
        identifier = data[at]
        if left < 0 or at > last or (identifier == 0x26 and len(user) >= bounds.user_properties):
            cut = True
            break
        at += 1
        if identifier == 0x0B:  # subscription identifier: meaningless to a receiver
            _, at = parse_length(data, at)
            continue
        if identifier == 0x23:  # topic alias: we allow none
            raise MalformedPacket("a topic alias, though none is allowed")
        concerned = True
        if identifier == 0x26:
            name, at = _binary(data, at)
            value, at = _binary(data, at)
            if last < at <= end:
                cut = True
                break
            user.append((_text(name), _text(value)))
        elif identifier == 0x03:
            found, at = _binary(data, at)
            content_type = _text(found)
        elif identifier == 0x08:
            found, at = _binary(data, at)
            response_topic = _text(found)
        elif identifier == 0x09:
            correlation_data, at = _binary(data, at)
        elif identifier == 0x02:
            expiry = int.from_bytes(data[at : at + 4])
            at += 4
        elif identifier == 0x01:
            payload_is_text = data[at : at + 1] == b"\x01"
            at += 1
        else:
            raise MalformedPacket(f"unknown property 0x{identifier:02x} of a publish")
    if at != end and not cut:
        raise MalformedPacket("a property is longer than its packet says")
    if not concerned:
        return None, end, 0, cut
    cost = _PAIR * len(user)
    kept = data[start : min(at, end)]
    if not kept.isascii():
        cost += WIDEST * len(kept)
    return Properties(tuple(user), content_type, response_topic, correlation_data, expiry, payload_is_text), end, cost, cut


def encode_properties(properties: Properties) -> bytes:
    """Encode the properties of a publish, with their length.

    Raises:
        OverflowError: one is longer than 65,535 bytes.
    """
    found = bytearray()
    if properties.payload_is_text:
        found += b"\x01\x01"
    if properties.expiry is not None:
        found += b"\x02" + properties.expiry.to_bytes(4)
    for identifier, value in ((b"\x03", properties.content_type), (b"\x08", properties.response_topic)):
        if value is not None:
            found += identifier + _prefixed(value.encode())
    if properties.correlation_data is not None:
        found += b"\x09" + _prefixed(properties.correlation_data)
    for name, value in properties.user:
        found += b"\x26" + _prefixed(name.encode()) + _prefixed(value.encode())
    return encode_length(len(found)) + found


def _prefixed(data: bytes) -> bytes:
    return len(data).to_bytes(2) + data


def _binary(data: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    end = start + int.from_bytes(data[at:start])
    return data[start:end], end


def _text(data: bytes) -> str:
    # one invalid character in a property must not block the message for ever
    return data.decode(errors="replace")
