"""Finds out why a broker's port does not answer as MQTT: TLS spoken to a plain port, or the reverse."""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edgerouter.mqtt.address import BrokerAddress

_PATIENCE: Final = 2.0
"""Seconds for each attempt."""
_AGAIN: Final = 60.0
"""Seconds for which a finding is good: each look is a connection that the broker logs."""
_MOST: Final = 100
_CONNECT: Final = b"\x10\x0c\x00\x04MQTT\x04\x02\x00\x05\x00\x00"
"""A CONNECT of 3.1.1 without a client id, for a clean session."""
_UPGRADE: Final = b"GET / HTTP/1.1\r\nHost: broker\r\nConnection: close\r\n\r\n"
_found: dict[BrokerAddress, tuple[float, str | None]] = {}


def diagnose(address: BrokerAddress) -> str | None:
    """Return what to change, `None` when nothing is known. Blocks for a few seconds: not for the event loop."""
    now = time.monotonic()
    known = _found.get(address)
    if known is not None and now - known[0] < _AGAIN:
        return known[1]
    answer: str | None = None
    scheme = "ws" if address.transport == "websockets" else "mqtt"
    if address.tls:
        if _answers(address, _speaks_plainly):
            answer = f"the port does not speak TLS, it speaks plainly: write {scheme}:// or use the port for TLS"
    elif _answers(address, _speaks_tls):
        answer = f"the port speaks TLS: write {scheme}s:// or use the port without TLS"
    if len(_found) >= _MOST:
        _found.clear()
    _found[address] = (now, answer)
    return answer


def _answers(address: BrokerAddress, look: Callable[[BrokerAddress, socket.socket], bool]) -> bool:
    with suppress(OSError, ValueError), socket.create_connection((address.host, address.port), _PATIENCE) as connection:
        return look(address, connection)
    return False


def _speaks_tls(_: BrokerAddress, connection: socket.socket) -> bool:
    # nothing is sent over it: whose certificate it is does not matter
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    try:
        context.wrap_socket(connection).close()
    except ssl.SSLError as error:
        # an alert: it wants a certificate of ours, another version or a name
        return "ALERT" in (error.reason or "")
    return True


def _speaks_plainly(address: BrokerAddress, connection: socket.socket) -> bool:
    web = address.transport == "websockets"
    connection.sendall(_UPGRADE if web else _CONNECT)
    return connection.recv(4)[: 4 if web else 2] in (b"HTTP", b"\x20\x02")
