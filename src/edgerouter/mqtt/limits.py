"""Bounds of what a broker sends in one packet."""

from __future__ import annotations

from typing import Final

import msgspec

from edgerouter.memory import usable_memory

LARGEST_PACKET: Final = 268_435_455 + 5
"""Of the protocol, with the fixed header (MQTT 5.0, 2.1.4)."""
_DEFAULT: Final = 32 * 1024**2
_LEAST: Final = 64 * 1024
_SHARE: Final = 16
"""A packet exists several times while it is received, stored and sent: at most a sixteenth of the memory is for one."""


class PacketLimits(msgspec.Struct, frozen=True):
    """Bounds of one publish."""

    packet: int = _DEFAULT
    """Bytes of the whole packet; a larger publish is discarded while it streams by."""
    user_properties: int = 1000
    """Properties of a publish; those beyond are left off."""
    user_property_bytes: int = 256 * 1024
    """Bytes of the properties of a publish; those beyond are left off."""


def default_packet_limit() -> int:
    """Return 32 MiB, or a sixteenth of the memory that the process may use, if that is less."""
    return max(_LEAST, min(_DEFAULT, usable_memory() // _SHARE))
