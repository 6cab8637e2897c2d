"""Closing a connection by half, so that the broker reads every acknowledgement that was written to it.

A socket that is closed while it holds data that was not read resets the connection, and the other side loses whatever it has not
read by then. A broker that sends faster than it reads, as mosquitto 2.0.11 does, loses thousands of acknowledgements that way and
sends their messages again.
"""

from __future__ import annotations

import asyncio
import socket
from typing import Final

AT_MOST: Final = 10.0
"""Seconds that the broker has to read what was sent and to close its half."""
_SILENCE: Final = 3.0
"""Seconds without a byte after which it is not expected to close any more."""
_READ: Final = 256 * 1024


async def read_to_the_end(connection: socket.socket) -> bool:
    """End our half of a connection, and read, without a look at it, what still comes until the other half ends.

    The bytes are the socket's, beneath TLS and WebSocket.

    Returns:
        whether the other side has read everything; if not, it did not close in time or reset the connection.
    """
    loop = asyncio.get_running_loop()
    connection.setblocking(False)
    try:
        connection.shutdown(socket.SHUT_WR)
        async with asyncio.timeout(AT_MOST):
            while True:
                async with asyncio.timeout(_SILENCE):
                    if not await loop.sock_recv(connection, _READ):
                        return True
    except (OSError, TimeoutError):
        return False
    finally:
        connection.close()
