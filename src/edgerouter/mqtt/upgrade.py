"""Opens a WebSocket on a connection (RFC 6455, 4.1), within a bound of time and bytes. Blocks: not for the event loop."""

from __future__ import annotations

import base64
import hashlib
import hmac
import os
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Self

from edgerouter.mqtt.exchange import Exchange, Unusable
from edgerouter.mqtt.login import Login
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.mqtt.websocket import WebSocket

_GUID: Final = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
_LONGEST_STATUS: Final = 100
"""Characters of a refusal to show."""


class UpgradeRefused(ConnectionError):
    """The server answers, and opens no WebSocket.

    Args:
        reason: for the operator.
        lasting: it will refuse again until something is corrected.
    """

    def __init__(self, reason: str, *, lasting: bool = True) -> None:
        super().__init__(f"the server opens no WebSocket: {reason}")
        self.lasting = lasting


@dataclass(frozen=True, slots=True)
class Upgrade:
    """Request for a WebSocket that carries MQTT."""

    host: str
    port: int
    tls: bool
    path: str
    seconds: float
    """For the whole answer."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)

    @classmethod
    def of(cls, settings: BrokerSettings, login: Login) -> Self | None:
        """Return the request for a broker; `None` for one that is reached without."""
        address = settings.address
        if address.transport != "websockets":
            return None
        headers = {**settings.read_websocket_headers(), **login.headers}
        return cls(address.host, address.port, address.tls, login.path or address.path, settings.connect_timeout, headers)

    def open(self, connection: socket.socket) -> WebSocket:
        """Return the WebSocket.

        Raises:
            TimeoutError: the server has not answered in time.
            UpgradeRefused: it refuses, or does not answer as a WebSocket server does.
        """
        exchange = Exchange(connection, time.monotonic() + self.seconds, "the server")
        key = base64.b64encode(os.urandom(16))
        try:
            exchange.send(self._request(key))
            answer = exchange.until(b"\r\n\r\n").decode("latin-1")
        except Unusable as error:
            raise UpgradeRefused(str(error), lasting=False) from None
        _check(answer, base64.b64encode(hashlib.sha1(key + _GUID, usedforsecurity=False).digest()))
        return WebSocket(connection)

    def after(self, connect: Callable[[], Any]) -> WebSocket:
        """Return the WebSocket on a connection that is made first; raises as `open` does."""
        return self.open(connect())

    def _request(self, key: bytes) -> bytes:
        place = f"[{self.host}]" if ":" in self.host else self.host
        if self.port != (443 if self.tls else 80):
            place += f":{self.port}"
        headers = {
            "Host": place,
            "Upgrade": "websocket",
            "Connection": "Upgrade",
            "Origin": f"{'https' if self.tls else 'http'}://{place}",
            "Sec-WebSocket-Key": key.decode(),
            "Sec-WebSocket-Version": "13",
            "Sec-WebSocket-Protocol": "mqtt",
            **self.headers,
        }
        lines = [f"GET {self.path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
        return "\r\n".join(lines).encode()


def _check(answer: str, accept: bytes) -> None:
    status, *lines = answer.split("\r\n")
    version, _, code = status.partition(" ")
    if not version.startswith("HTTP/1."):
        raise UpgradeRefused("it does not answer in HTTP")
    if not code.startswith("101"):
        shown = "".join(each for each in code if each.isprintable())[:_LONGEST_STATUS]
        raise UpgradeRefused(f"it answers {shown}", lasting=code[:1] != "5" and code[:3] != "429")
    headers = {name.strip().lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if "upgrade" not in headers.get("connection", "").lower():
        raise UpgradeRefused("it does not upgrade the connection")
    if not hmac.compare_digest(headers.get("sec-websocket-accept", "").encode(), accept):
        raise UpgradeRefused("its answer is for another request")
