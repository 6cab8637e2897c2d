"""Topic aliases of one connection: a topic is written once, and later named by a number (MQTT 5.0, 3.3.2.3.4)."""

from __future__ import annotations

from typing import Final

from edgerouter.mqtt.packets import encode_length
from edgerouter.mqtt.properties import parse_length

_MOST: Final = 1000
"""Topics to remember, whatever the broker offers."""
_ONE_BYTE: Final = 125
"""Shorter properties have a length of one byte, also with an alias."""
_SHORTEST, _LONGEST = 4, 1024
"""Characters of a topic: an alias takes three bytes; and the memory for topics is bounded."""


class Aliases:
    """Gives the topics that come first an alias each.

    Args:
        most: aliases that the broker takes.
    """

    def __init__(self, most: int) -> None:
        self._most = min(most, _MOST)
        self._known: dict[str, bytes] = {}
        """Property by topic."""

    def apply(self, topic: str, properties: bytes) -> tuple[str, bytes]:
        """Return topic and properties to send; the topic is empty where the broker knows its alias."""
        alias = self._known.get(topic)
        if alias is not None:
            return "", _with(properties, alias)
        if len(self._known) >= self._most or not _SHORTEST <= len(topic) <= _LONGEST:
            return topic, properties
        alias = self._known[topic] = b"\x23" + (len(self._known) + 1).to_bytes(2)
        return topic, _with(properties, alias)


def _with(properties: bytes, alias: bytes) -> bytes:
    if properties[0] < _ONE_BYTE:
        return bytes((properties[0] + len(alias),)) + alias + properties[1:]
    length, at = parse_length(properties, 0)
    return encode_length(length + len(alias)) + alias + properties[at:]
