"""Reads a socket as far as its owner wants: much at once, paused, resumed, or once although it is paused."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, Protocol

from edgerouter.mqtt.packets import MalformedPacket

_READ: Final = 128 * 1024
_ROUNDS: Final = 16
"""Reads in one turn of the event loop, where a TLS record or a WebSocket frame ends a read early."""


class Readable(Protocol):
    """A socket, with TLS and WebSocket above it."""

    @property
    def is_open(self) -> bool: ...
    @property
    def reads_whole(self) -> bool:
        """A single read returns all that there is: neither TLS nor WebSocket holds data back."""

    def receive(self, size: int) -> bytes | None:
        """Return what has come, `b""` when nothing has; `None` if the connection is lost."""

    def holds_more(self) -> bool:
        """Return true if TLS holds data that the socket does not show."""

    def watch(self) -> None:
        """Call `Reading.readable` whenever something comes."""

    def unwatch(self) -> None:
        """Undo `watch`."""

    def fail(self, malformed: str) -> None:
        """End the connection: the other side does not speak MQTT."""


class Reading:
    """Reads one connection.

    Args:
        sock: read from.
        on_bytes: gets what was read; raises MalformedPacket when the connection cannot be used any more.
    """

    def __init__(self, sock: Readable, on_bytes: Callable[[bytes], None]) -> None:
        self._sock = sock
        self._on_bytes = on_bytes
        self._loop = asyncio.get_running_loop()
        self._paused = False
        self._discarding = False
        self._bytes = 0

    def pause(self) -> None:
        """Read no more; the connection stays up as long as keep-alives are answered."""
        if not self._paused:
            self._paused = True
            self._sock.unwatch()

    def resume(self) -> None:
        """Read again."""
        if self._paused:
            self._paused = False
            if self._sock.is_open:
                self._sock.watch()
                # TLS may hold what the socket no longer shows
                self._loop.call_soon(self.readable)

    def discard(self) -> None:
        """Ignore what is read from now on: the connection is going to be finished."""
        self._discarding = True

    def read_once(self) -> bool:
        """Read once, although reading may be paused. Returns false when nothing came or the connection is lost."""
        if not self._sock.is_open:
            return False
        data = self._sock.receive(_READ)
        self._bytes += len(data or b"")
        return self._hand_on(data) if data else False

    def read_waiting(self) -> int:
        """Read all that has come, within what one turn of the event loop may read, although reading may be paused. Return bytes."""
        begun = self._bytes
        for _ in range(_ROUNDS):
            before = self._bytes
            if not self.read_once() or (self._sock.reads_whole and self._bytes - before < _READ):
                break
        return self._bytes - begun

    def read_rest(self) -> None:
        """Read all that has come, unless paused."""
        while not self._paused and self.read_once():
            pass

    def go_on(self) -> None:
        """Offer again what was read and held back for want of room."""
        if not self._paused and self._sock.is_open:
            self._hand_on(b"")

    def readable(self) -> None:
        """Read what has come, leaving the event loop to others in between."""
        if self._paused or not self._sock.is_open:
            return
        if self._sock.reads_whole:
            self.read_once()
            return
        for _ in range(_ROUNDS):
            if not self.read_once():
                # the end of a frame looks like the end of what there is; TLS may hold more, which the socket does not show
                if self._sock.holds_more():
                    break
                return
            if self._paused or not self._sock.is_open:
                return
        self._loop.call_soon(self.readable)

    def _hand_on(self, data: bytes) -> bool:
        if self._discarding:
            return True
        try:
            self._on_bytes(data)
        except MalformedPacket as error:
            self._sock.fail(f"the broker does not speak MQTT as it should: {error}")
            return False
        return True
