"""Reads the framing `length-prefixed`."""

from __future__ import annotations

import struct


def records(data: bytes) -> list[bytes]:
    """Return the payloads of an object."""
    found, at = [], 0
    while at < len(data):
        (length,) = struct.unpack_from(">I", data, at)
        found.append(data[at + 4 : at + 4 + length])
        at += 4 + length
    assert at == len(data), "the last record is cut short"
    return found
