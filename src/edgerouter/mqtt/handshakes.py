"""QoS 2 over several connections: which messages the broker may hold already, so that a retry continues instead of doubling them.

A broker passes a message of QoS 2 on once: it knows its packet id until the client has released it. An attempt that a lost
connection cut is continued with the same packet id (MQTT 5.0, 4.4), for which the broker has to keep our session meanwhile.
"""

from __future__ import annotations

from collections.abc import Container
from typing import Final, Literal

_LAST_ID: Final = 65_535

State = Literal["new", "sent", "received"]


class Handshakes:
    """Packet ids, and the handshakes that are not finished. Outlives the connections of a publisher.

    Args:
        most: unfinished handshakes and unclaimed results to remember; beyond it the session is given up.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._last = 0
        self._ids: dict[str, int] = {}
        """Packet id by message id."""
        self._keys: dict[int, str] = {}
        self._received: set[int] = set()
        """Packet ids that the broker has confirmed, and we may not have released."""
        self._done: set[str] = set()
        """Messages whose handshake ended when no write waited for it."""

    @property
    def are_worth_keeping(self) -> bool:
        """Something is unfinished, and not more than is sensible: messages that are not tried again stay here."""
        return bool(self._ids) and len(self._ids) + len(self._done) <= self._most

    def resumed(self, *, present: bool) -> list[int]:
        """Begin on a new connection; returns the packet ids to release now."""
        if not present:
            self._ids.clear()
            self._keys.clear()
            self._received.clear()
            self._done.clear()
        return sorted(self._received)

    def next_id(self, in_use: Container[int]) -> int:
        """Return a packet id that is not in use."""
        while True:
            self._last = self._last % _LAST_ID + 1
            if self._last not in in_use and self._last not in self._keys:
                return self._last

    def begin(self, key: str, in_use: Container[int]) -> tuple[int, State]:
        """Return the packet id for a message, and how far an earlier attempt came."""
        identifier = self._ids.get(key)
        if identifier is not None and identifier not in in_use:
            return identifier, "received" if identifier in self._received else "sent"
        new = self.next_id(in_use)
        if identifier is None:
            self._ids[key] = new
            self._keys[new] = key
        return new, "new"

    def is_done(self, key: str) -> bool:
        """Return True, once, if the message was passed on while no write waited for it."""
        if key in self._done:
            self._done.remove(key)
            return True
        return False

    def received(self, identifier: int) -> None:
        """Note that the broker has the message."""
        if identifier in self._keys:
            self._received.add(identifier)

    def completed(self, identifier: int, *, awaited: bool) -> None:
        """Note the end of a handshake."""
        if (key := self._forget(identifier)) is not None and not awaited:
            self._done.add(key)

    def refused(self, identifier: int) -> None:
        """Note that the broker does not take the message."""
        self._forget(identifier)

    def _forget(self, identifier: int) -> str | None:
        self._received.discard(identifier)
        key = self._keys.pop(identifier, None)
        if key is not None:
            self._ids.pop(key, None)
        return key
