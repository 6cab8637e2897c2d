"""Reads back the JSON Lines that sinks write."""

from __future__ import annotations

import base64
import json

import msgspec

from edgerouter.testing import Received


class _Line(msgspec.Struct):
    payload: msgspec.Raw


def received(line: bytes) -> Received:
    """Return the message of one line, its payload byte for byte; a payload that is itself a JSON string looks like text."""
    text = json.loads(line)
    value = text["payload"]
    if isinstance(value, dict) and set(value) == {"base64"}:
        payload = base64.b64decode(value["base64"])
    elif isinstance(value, str):
        payload = value.encode()
    else:
        payload = bytes(msgspec.json.decode(line, type=_Line).payload)
    return Received(payload, text["topic"], text["id"])
