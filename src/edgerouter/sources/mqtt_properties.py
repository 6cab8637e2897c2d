"""The MQTT 5 properties of a publish, from the bytes of its packet (MQTT 5.0, 2.2.2 and 3.3.2.3)."""

from __future__ import annotations

from edgerouter.message import Properties


class MalformedPacket(ValueError):
    """The broker sent something that is not MQTT."""


def parse_length(data: bytes, at: int) -> tuple[int, int]:
    """A variable byte integer and where it ends.

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


def parse_properties(data: bytes, at: int, limit: int) -> tuple[Properties | None, int]:  # noqa: C901, PLR0912  (one branch a property)
    """The properties that start at `at` in a packet that ends at `limit`, and where the payload starts.

    `None` when none of them concerns the receiver.

    Raises:
        MalformedPacket: an unknown property, or one that is cut off.
    """
    length, at = parse_length(data, at)
    end = at + length
    if end > limit:
        raise MalformedPacket("the properties are longer than their packet")
    user: list[tuple[str, str]] = []
    content_type: str | None = None
    response_topic: str | None = None
    correlation_data: bytes | None = None
    expiry: int | None = None
    payload_is_text = False
    concerned = False
    while at < end:
        identifier = data[at]
        at += 1
        if identifier == 0x0B:  # subscription identifier: ours, of no use to a receiver
            _, at = parse_length(data, at)
            continue
        if identifier == 0x23:  # topic alias: we allow none
            raise MalformedPacket("a topic alias, though none is allowed")
        concerned = True
        if identifier == 0x26:
            name, at = _binary(data, at)
            value, at = _binary(data, at)
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
    if at != end:
        raise MalformedPacket("a property is longer than its packet says")
    if not concerned:
        return None, end
    return Properties(tuple(user), content_type, response_topic, correlation_data, expiry, payload_is_text), end


def _binary(data: bytes, at: int) -> tuple[bytes, int]:
    start = at + 2
    end = start + int.from_bytes(data[at:start])
    return data[start:end], end


def _text(data: bytes) -> str:
    # a wrong character in a property is no reason to refuse the message for ever
    return data.decode(errors="replace")
