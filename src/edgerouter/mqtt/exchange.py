"""Short questions and answers on a new connection, bounded in time and bytes. Blocks: not for the event loop."""

from __future__ import annotations

import socket
import time
from typing import Final

_LONGEST_ANSWER: Final = 16 * 1024
"""Bytes of an answer."""


class Unusable(Exception):
    """An answer that cannot be used."""


class Exchange:
    """Talks to the other side until a deadline.

    Args:
        connection: a socket, or TLS above one.
        deadline: monotonic seconds.
        peer: name of the other side.
    """

    def __init__(self, connection: socket.socket, deadline: float, peer: str) -> None:
        self._connection = connection
        self._deadline = deadline
        self._peer = peer

    def send(self, data: bytes) -> None:
        """Send all bytes."""
        self._connection.sendall(data)

    def exactly(self, count: int) -> bytes:
        """Return that many bytes.

        Raises:
            TimeoutError: they have not come by the deadline.
            Unusable: the connection ended before.
        """
        found = b""
        while len(found) < count:
            found += self._some(count - len(found))
        return found

    def until(self, end: bytes) -> bytes:
        """Return an answer with its end; raises as `exactly` does, and Unusable for one that is too long."""
        found = bytearray()
        while not found.endswith(end):
            if len(found) >= _LONGEST_ANSWER:
                raise Unusable("its answer does not end")
            # what follows belongs to the connection: byte by byte, of a short answer
            found += self._some(1)
        return bytes(found)

    def _some(self, most: int) -> bytes:
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError(f"{self._peer} does not answer")
        self._connection.settimeout(left)
        try:
            data = self._connection.recv(most)
        except TimeoutError:
            raise TimeoutError(f"{self._peer} does not answer") from None
        if not data:
            raise Unusable("it closed the connection")
        return data
