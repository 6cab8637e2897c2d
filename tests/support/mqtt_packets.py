"""Packets of MQTT, made and taken apart by its specification and by no code of the router."""

from __future__ import annotations

import asyncio
import struct
from dataclasses import dataclass


def varint(value: int) -> bytes:
    """Encode a variable byte integer."""
    found = bytearray()
    while True:
        value, byte = divmod(value, 128)
        found.append(byte | 128 if value else byte)
        if not value:
            return bytes(found)


def packet(command: int, body: bytes) -> bytes:
    """Build a packet with its length."""
    return bytes([command]) + varint(len(body)) + body


def publish(
    topic: str, payload: bytes, qos: int = 0, identifier: int = 1, *, flags: int = 0, properties: bytes | None = None
) -> bytes:
    """Build a PUBLISH; `properties` for MQTT 5."""
    raw = topic.encode()
    body = struct.pack("!H", len(raw)) + raw + (struct.pack("!H", identifier) if qos else b"")
    body += b"" if properties is None else varint(len(properties)) + properties
    return packet(0x30 | qos << 1 | flags, body + payload)


@dataclass(frozen=True)
class Connect:
    """Content of a client's CONNECT."""

    version: int
    client_id: str
    clean: bool
    keepalive: int
    properties: bytes
    username: str | None = None
    password: str | None = None
    will: tuple[str, bytes] | None = None
    """Topic and payload."""


async def read_packet(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    command = (await reader.readexactly(1))[0]
    length = shift = 0
    while True:
        byte = (await reader.readexactly(1))[0]
        length |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return command, await reader.readexactly(length)


def parse_varint(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            return value, at


def parse_connect(body: bytes) -> Connect:
    version, flags = body[6], body[7]
    keepalive = int.from_bytes(body[8:10])
    at = 10
    properties = b""
    if version == 5:
        length, at = parse_varint(body, at)
        properties = body[at : at + length]
        at += length
    client_id, at = _binary(body, at)
    will = None
    if flags & 4:
        if version == 5:
            length, at = parse_varint(body, at)
            at += length
        topic, at = _binary(body, at)
        payload, at = _binary(body, at)
        will = topic.decode(), payload
    username, at = _binary(body, at) if flags & 0x80 else (None, at)
    password, at = _binary(body, at) if flags & 0x40 else (None, at)
    return Connect(
        version,
        client_id.decode(),
        bool(flags & 2),
        keepalive,
        properties,
        None if username is None else username.decode(),
        None if password is None else password.decode(),
        will,
    )


def _binary(body: bytes, at: int) -> tuple[bytes, int]:
    end = at + 2 + int.from_bytes(body[at : at + 2])
    return body[at + 2 : end], end
