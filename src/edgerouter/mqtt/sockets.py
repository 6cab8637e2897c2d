"""Sockets: a failure that the event loop does not report, TCP's acknowledgements, and errors as text.

uvloop stops watching a socket with an error after calling the reader once. A reset that follows unread data is such a case: the
reader gets the data, and is never called for the reset.
"""

from __future__ import annotations

import re
import select
import socket
from contextlib import suppress
from typing import Any, Final

_NUMBER: Final = re.compile(r"^\[Errno -?\d+\] ")
_QUICK: Final[int | None] = getattr(socket, "TCP_QUICKACK", None)
"""Linux has it."""
_LONGEST_DELAY: Final = 46
"""TCP_DELACK_MAX_US of Linux, which Python does not name."""
_TICKS: Final = (1_000, 5_000, 11_000)
"""Microseconds that kernels with 1000, 250 and 100 ticks a second accept; they round up."""
_TLS: Final = re.compile(r"^\[SSL(?:: \w+)?\] (.*?)\.?(?: \(_ssl\.c:\d+\))?$")


def as_text(error: str) -> str:
    """Return the message of an operating system or OpenSSL error, without its numbers and file names."""
    if tls := _TLS.match(error):
        return f"TLS: {tls[1]}"
    return _NUMBER.sub("", error)


def has_failed(fileno: int) -> bool:
    """Return True if the peer has reset the connection, or both sides have closed it; data may still be unread."""
    poll = select.poll()
    # errors are reported without being requested
    poll.register(fileno, 0)
    return bool(poll.poll(0))


def hold_nothing_back(tcp: socket.socket) -> None:
    """Set up a new connection so that small packets do not wait for each other's acknowledgements, in neither direction.

    Nagle's algorithm would keep a message of QoS 0 back until the one before is acknowledged. What belongs together is written at
    once anyway.
    """
    tcp.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    acknowledge_soon(tcp)


def acknowledge_soon(tcp: socket.socket) -> None:
    """Have the system delay TCP acknowledgements by a tick of its clock (1 to 10 ms) in place of 40 ms; Linux before 6.15 cannot.

    See `acknowledge_now`. While nothing is read until the next commit, a broker could send one small packet and then no other.
    """
    for microseconds in _TICKS:
        with suppress(OSError):  # shorter than a tick of this kernel, or an option that it does not have
            tcp.setsockopt(socket.IPPROTO_TCP, _LONGEST_DELAY, microseconds)
            return


def acknowledge_now(sock: Any) -> None:
    """Have the system send the TCP acknowledgement of what has been read, which it may delay by 40 ms to send it with data.

    A peer that leaves Nagle's algorithm on, as mosquitto does, keeps its next small packet back until then.

    Args:
        sock: a TCP socket, or TLS above one; above others nothing happens.
    """
    if _QUICK is not None and isinstance(sock, socket.socket):
        with suppress(OSError):  # the next read finds out
            sock.setsockopt(socket.IPPROTO_TCP, _QUICK, 1)
