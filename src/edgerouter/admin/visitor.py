"""Bounds what clients of the control interface over TCP may hold: connections, and the time for a request and for its answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Final, cast

from edgerouter.http_server.doorkeeper import Doorkeeper

MOST_CONNECTIONS: Final = 64
HEAD_SECONDS: Final = 10.0
"""Time for a whole request. Half a request and silence is what an attack, or a broken client, looks like."""
ANSWER_SECONDS: Final = 30.0
"""Time for taking an answer."""

_END: Final = b"\r\n\r\n"


class Reception:
    """Makes the protocols of one listener.

    Args:
        handler: makes the protocol that answers requests without a body.
        most: connections at once.
        head_seconds: see `HEAD_SECONDS`.
    """

    def __init__(
        self, handler: Callable[[], asyncio.Protocol], *, most: int = MOST_CONNECTIONS, head_seconds: float = HEAD_SECONDS
    ) -> None:
        self.handler = handler
        self.head_seconds = head_seconds
        self.doorkeeper = Doorkeeper(most)

    def __call__(self) -> Visitor:
        return Visitor(self)


class Visitor(asyncio.Protocol):
    """One connection: hands everything to the handler's protocol, and ends the connection when its time is over."""

    def __init__(self, reception: Reception) -> None:
        self.waits = True
        """Nothing is being answered: it has sent half a request, or none."""
        self._reception = reception
        self._inner: asyncio.Protocol | None = None
        self._transport: asyncio.Transport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._tail = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        if not self._reception.doorkeeper.admit(self):
            self._transport.abort()
            return
        self._inner = self._reception.handler()
        self._inner.connection_made(transport)
        self._wait_for_request()

    def data_received(self, data: bytes) -> None:
        if self._inner is None:
            return
        seen = self._tail + data
        self._tail = seen[-len(_END) :]
        if seen.endswith(_END):
            self.waits = False
            self._tail = b""
            self._set_timer(ANSWER_SECONDS, self._answer_time_over)
        elif not self.waits:
            self._wait_for_request()
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return None if self._inner is None else self._inner.eof_received()

    def pause_writing(self) -> None:
        if self._inner is not None:
            self._inner.pause_writing()

    def resume_writing(self) -> None:
        if self._inner is not None:
            self._inner.resume_writing()

    def connection_lost(self, exc: Exception | None) -> None:
        self._leave()
        if self._inner is not None:
            self._inner.connection_lost(exc)

    def abort(self) -> None:
        """End the connection now."""
        self._leave()
        if self._transport is not None:
            self._transport.abort()

    def _wait_for_request(self) -> None:
        self.waits = True
        self._set_timer(self._reception.head_seconds, self.abort)
        self._reception.doorkeeper.begins_to_wait(self)

    def _answer_time_over(self) -> None:
        if self._transport is not None and self._transport.get_write_buffer_size():
            self.abort()
        else:
            self._wait_for_request()

    def _set_timer(self, seconds: float, action: Callable[[], None]) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_later(seconds, action)

    def _leave(self) -> None:
        self._reception.doorkeeper.leave(self)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
