"""Packets as the MQTT client takes them: with reason codes that it knows, for it would end the connection with a riddle.

MQTT 5.0, 2.4: a code below 0x80 is a success, any other a failure.
"""

from __future__ import annotations

from typing import Any, Final

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.mqtt.properties import parse_length

_SUCCESS: Final = 0
_UNSPECIFIED: Final = 128
_CONNACK: Final = 0x20
_OLD_CONNACK_BYTES: Final = 2
"""Without the length of properties, which MQTT 5 always has (MQTT 3.1.1, 3.2)."""
_ONE_CODE: Final = {_CONNACK: (PacketTypes.CONNACK, 1), 0xE0: (PacketTypes.DISCONNECT, 0)}
_MANY_CODES: Final = {0x90: PacketTypes.SUBACK, 0xB0: PacketTypes.UNSUBACK}


def with_known_codes(command: int, body: bytes, *, version5: bool) -> tuple[bytes, int | None]:
    """Return the packet's body with codes that the client knows, and the first code that was replaced."""
    if command == _CONNACK and len(body) == _OLD_CONNACK_BYTES:
        return body, None  # a broker that speaks 3.1.1 only: its code 1 refuses the version
    if version5 and command in _ONE_CODE:
        kind, start = _ONE_CODE[command]
        end = start + 1
    elif command in _MANY_CODES and (version5 or command == 0x90):
        kind = _MANY_CODES[command]
        start, end = _codes_of(body, version5=version5), len(body)
    else:
        return body, None
    changed = bytearray(body)
    first: int | None = None
    for at in range(start, min(end, len(body))):
        if not _is_known(kind, body[at]):
            changed[at] = _UNSPECIFIED if body[at] >= _UNSPECIFIED else _SUCCESS
            first = body[at] if first is None else first
    return (bytes(changed), first) if first is not None else (body, None)


def _codes_of(body: bytes, *, version5: bool) -> int:
    if not version5:
        return 2
    length, at = parse_length(body, 2)
    return at + length


def _is_known(kind: int, code: int) -> bool:
    try:
        ReasonCode(kind, identifier=code).getName()
    except (KeyError, ValueError, AssertionError):
        return False
    return True


def as_paho_reads(command: int, body: bytes) -> Any:
    """Return a packet in the form in which paho keeps what it has read."""
    return {
        "command": command, "have_remaining": 1, "remaining_count": [], "remaining_mult": 1, "remaining_length": len(body),
        "packet": bytearray(body), "to_process": 0, "pos": 0,
    }  # fmt: skip
