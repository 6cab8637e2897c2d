"""nats-py's client with bounds, and with a direct way in and out for many messages: the one reach into its private names."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, Final

from nats.aio.client import Client
from nats.errors import ConnectionClosedError, Error
from nats.protocol.parser import Parser as _Parser

from edgerouter_nats.parser import Listener, Parser

_PERMISSIONS: Final = "permissions violation"
_MOST_REFUSALS: Final = 1000
_MOST_PAYLOAD: Final = 64 * 1024**2
"""Largest `max_payload` of a server (docs.nats.io, Server configuration)."""


class BoundedClient(Client):
    """A client that never reconnects by itself, never sends credentials without TLS where TLS is wanted, and bounds what it keeps.

    nats-py sends what it has buffered again after a reconnect, so an outcome would be unknown; the router retries instead.

    Args:
        most_bytes: longest message with its headers that is accepted.
        wants_tls: refuse a server without TLS.
    """

    def __init__(self, *, most_bytes: int, wants_tls: bool) -> None:
        super().__init__()
        self.lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        """Done once the connection is gone, with the reason."""
        self.refused: list[Callable[[str], None]] = []
        """Called with each violation of permissions."""
        self._wants_tls = wants_tls
        self._connecting = True
        self._said = ""
        self._lines = Parser(self, most_bytes)
        self._ps = _in_place_of(self._lines)

    @property
    def info(self) -> dict[str, Any]:
        """Return what the server has said about itself."""
        return self._server_info

    def listen(self, listener: Listener, subject: str, queue: str = "") -> Callable[[], None]:
        """Subscribe; messages come to `listener` without a queue or a task between. Return the call that ends it."""
        self._sid += 1
        sid = self._sid
        self._lines.listeners[sid] = listener
        self.post(f"SUB {subject} {queue} {sid}\r\n".encode())

        def end() -> None:
            if self._lines.listeners.pop(sid, None) is not None and self.is_connected:
                self.post(f"UNSUB {sid}\r\n".encode())

        return end

    def post(self, data: bytes) -> None:
        """Write complete operations of the protocol, after everything posted before.

        Raises:
            ConnectionClosedError: the connection is gone.
        """
        if not self.is_connected or self._transport is None:
            raise ConnectionClosedError
        self._transport.write(data)

    async def drained(self) -> None:
        """Wait until the socket has taken most of what was posted."""
        if self._transport is not None:
            await self._transport.drain()  # type: ignore[no-untyped-call]  # nats-py declares nothing

    async def failed(self, error: Exception) -> None:
        """Raise an error of connecting, because nats-py would only try again."""
        if self._connecting:
            raise error
        self._said = self._said or str(error) or type(error).__name__

    async def gone(self) -> None:
        """Note the end of the connection."""
        if not self.lost.done():
            self.lost.set_result(self._said or "the connection was lost")

    def established(self) -> None:
        """End the phase of connecting.

        Raises:
            Error: the server has answered the first ping with something else; nats-py takes no notice.
        """
        if not self.is_connected:
            raise Error("it answers something else than expected")
        self._connecting = False

    async def discard(self) -> None:
        """Close whatever there is of a connection, quietly."""
        self._connecting = False
        for task in (self._reading_task, self._ping_interval_task, self._flusher_task):
            if task is not None:
                task.cancel()
        if self._transport is not None:
            self._transport.close()  # type: ignore[no-untyped-call]  # nats-py declares nothing
        await self.gone()

    # Handlers of the parser

    async def on_message(self, sid: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes) -> None:
        """Give a message to one of nats-py's own subscriptions."""
        await self._process_msg(sid, subject, reply, payload, headers)

    async def on_error(self, text: str) -> None:
        """Take an error of the server; all but a violation of permissions end the connection."""
        if _PERMISSIONS in text.lower():
            for call in self.refused[:_MOST_REFUSALS]:
                call(text)
            return
        self._said = text
        await self._process_err(text.lower())

    async def on_info(self, text: bytes) -> None:
        """Take a changed INFO."""
        info = json.loads(text)
        if isinstance(info, dict):
            self._server_info = {**self._server_info, **info}
            self._max_payload = _payload(info)

    async def on_ping(self) -> None:
        """Answer a ping."""
        await self._process_ping()

    async def on_pong(self) -> None:
        """Take the answer to a ping; one that nothing asked for counts for nothing."""
        while self._pongs and self._pongs[0].done():
            self._pongs.pop(0)
        await self._process_pong()

    # Overridden

    async def _process_info(self, info: dict[str, Any], initial_connection: bool = False) -> None:
        """Look at the first INFO. Other servers that it names are not used: their number has no bound."""
        if not initial_connection:
            return
        if self._wants_tls:
            if not info.get("tls_required") and not info.get("tls_available") and not self.options["tls_handshake_first"]:
                raise TlsMissing("the server offers no TLS; nothing was sent to it")
            info["tls_required"] = True
        info["max_payload"] = _payload(info)


class TlsMissing(Error):
    """TLS is wanted, and the server has none."""


def _payload(info: dict[str, Any]) -> int:
    size = info.get("max_payload")
    return size if isinstance(size, int) and 0 < size <= _MOST_PAYLOAD else 1024**2


def _in_place_of(parser: Parser) -> _Parser:
    """Return our parser as what nats-py declares: it calls `parse` and `reset`."""
    return parser  # type: ignore[return-value]
