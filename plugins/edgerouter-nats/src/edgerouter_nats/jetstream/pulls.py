"""Pull requests of one consumer over one connection, and what has come for them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Final

import msgspec

from edgerouter_nats.connection import Connection
from edgerouter_nats.parser import Arrived, Skipped

EXPIRES: Final = 30.0
"""Seconds that a request waits for messages."""
HEARTBEAT: Final = 5.0
"""Seconds after which the server says that a request without messages still waits."""
_NANOSECONDS: Final = 1_000_000_000
_WAITS: Final = "100"
_GONE: Final = ("consumer deleted", "consumer is push based", "no responders")
_ACKNOWLEDGEMENT: Final = "$JS.ACK."


class Pulls:
    """Keeps requests open, so that messages come without a round trip each.

    Args:
        connection: open.
        subject: of the requests for this consumer.
        max_bytes: most bytes that one request is answered with.
        held: messages that came over an earlier connection, and are not handed over yet.
    """

    def __init__(self, connection: Connection, subject: str, max_bytes: int, held: Sequence[Arrived] = ()) -> None:
        self.connection = connection
        self.gone = ""
        """Reason why the consumer must be looked at again; empty while it works."""
        self.too_long: list[Skipped] = []
        self._subject = subject
        self._max_bytes = max_bytes
        self._held = list(held)
        self._open: dict[str, int] = {}
        """Messages that each request is still good for."""
        self._last = 0
        self._wake = asyncio.Event()
        inbox = connection.client.new_inbox()
        self._prefix = f"{inbox}."
        self.end = connection.client.listen(self, f"{inbox}.*")

    def take(self, most: int) -> list[Arrived]:
        """Return messages that have come."""
        taken, self._held = self._held[:most], self._held[most:]
        return taken

    def request(self, most: int) -> None:
        """Keep requests open for about this many messages; raises `ConnectionClosedError`."""
        expected = len(self._held) + sum(self._open.values())
        if expected > most // 2:
            return
        batch = most - expected
        self._last += 1
        self._open[str(self._last)] = batch
        body = msgspec.json.encode(
            {
                "batch": batch,
                "max_bytes": self._max_bytes,
                "expires": int(EXPIRES * _NANOSECONDS),
                "idle_heartbeat": int(HEARTBEAT * _NANOSECONDS),
            }
        )
        self.connection.client.post(
            b"PUB %b %d\r\n%b\r\n" % (f"{self._subject} {self._prefix}{self._last}".encode(), len(body), body)
        )

    async def wait(self) -> None:
        """Wait until something has come, the requests are over, or the connection is gone."""
        self._wake.clear()
        if self._held or self.gone or not self._open:
            return
        waiting = asyncio.ensure_future(self._wake.wait())
        lost = self.connection.client.lost
        try:
            done, _ = await asyncio.wait((waiting, lost), timeout=3 * HEARTBEAT, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                self.gone = "the server has forgotten the request"
        finally:
            waiting.cancel()

    def arrived(self, messages: list[Arrived]) -> None:
        start = len(self._prefix)
        for message in messages:
            request = message.subject[start:]
            if message.reply.startswith(_ACKNOWLEDGEMENT):
                self._held.append(message)
                self._used(request)
            else:
                self._status(request, message.headers)
        self._wake.set()

    def skipped(self, message: Skipped) -> None:
        self.too_long.append(message)
        self._used(message.subject[len(self._prefix) :])
        self._wake.set()

    def _used(self, request: str) -> None:
        left = self._open.get(request, 0) - 1
        if left > 0:
            self._open[request] = left
        else:
            self._open.pop(request, None)

    def _status(self, request: str, headers: bytes) -> None:
        status, _, text = headers[len("NATS/1.0 ") :].partition(b"\r\n")[0].decode(errors="replace").partition(" ")
        if status == _WAITS:
            return
        self._open.pop(request, None)
        if status == "503":
            text = "no responders"
        if any(part in text.lower() for part in _GONE):
            self.gone = text
