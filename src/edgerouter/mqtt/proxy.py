"""Connects through a proxy: HTTP CONNECT (RFC 9110, 9.3.6) or SOCKS 5 (RFC 1928, RFC 1929). Blocks: not for the event loop."""

from __future__ import annotations

import base64
import socket
import time
from dataclasses import dataclass, field
from typing import Final, Literal
from urllib.parse import unquote, urlsplit

from edgerouter.mqtt.exchange import Exchange, Unusable

_PORTS: Final[dict[str, int]] = {"http": 8080, "socks5": 1080}
_SOCKS_ERRORS: Final = {
    1: "general failure", 2: "not allowed by its rules", 3: "network unreachable", 4: "host unreachable",
    5: "connection refused", 6: "time-out", 7: "command not supported", 8: "address type not supported",
}  # fmt: skip
_LONGEST_NAME: Final = 255
"""Bytes of a host, user or password in SOCKS."""


class ProxyRefused(OSError):
    """The proxy answers, and does not connect us: its credentials, its rules, or no proxy at all."""


@dataclass(frozen=True, slots=True)
class Proxy:
    """Address and credentials of a proxy."""

    scheme: Literal["http", "socks5"]
    host: str
    port: int
    user: str = field(default="", repr=False)
    password: str = field(default="", repr=False)

    def dial(self, host: str, port: int, seconds: float) -> socket.socket:
        """Return a connection to the host behind the proxy.

        Raises:
            OSError: there is none within the time; `ProxyRefused` where the proxy says no.
        """
        deadline = time.monotonic() + seconds
        try:
            connection = socket.create_connection((self.host, self.port), seconds)
        except OSError as error:
            raise OSError(f"the proxy {self.host}:{self.port} cannot be reached: {error.strerror or error}") from None
        try:
            exchange = Exchange(connection, deadline, "the proxy")
            (self._connect if self.scheme == "http" else self._socks)(exchange, host, port)
            connection.settimeout(seconds)
        except Unusable as error:
            connection.close()
            raise self._refused(str(error)) from None
        except BaseException:
            connection.close()
            raise
        return connection

    def _refused(self, reason: str) -> ProxyRefused:
        return ProxyRefused(f"the proxy {self.host}:{self.port} does not connect us: {reason}")

    def _connect(self, exchange: Exchange, host: str, port: int) -> None:
        place = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        head = f"CONNECT {place} HTTP/1.1\r\nHost: {place}\r\n"
        if self.user:
            credentials = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            head += f"Proxy-Authorization: Basic {credentials}\r\n"
        exchange.send(f"{head}\r\n".encode())
        answer = exchange.until(b"\r\n\r\n")
        version, _, rest = answer.partition(b" ")
        if not version.startswith(b"HTTP/1."):
            raise self._refused("it does not answer in HTTP")
        if rest[:1] != b"2":
            status = rest.partition(b"\r\n")[0].decode("ascii", errors="replace")
            raise self._refused(status[:100])

    def _socks(self, exchange: Exchange, host: str, port: int) -> None:
        exchange.send(b"\x05\x02\x00\x02" if self.user else b"\x05\x01\x00")
        version, method = exchange.exactly(2)
        if version != 5:
            raise self._refused("it does not speak SOCKS 5")
        if method == 2:
            user, password = self.user.encode(), self.password.encode()
            exchange.send(bytes((1, len(user))) + user + bytes((len(password),)) + password)
            if exchange.exactly(2)[1]:
                raise self._refused("user name or password is wrong")
        elif method:
            raise self._refused("it wants credentials")
        name = host.encode("idna") if not host.isascii() else host.encode()
        if len(name) > _LONGEST_NAME:
            raise self._refused("the host's name is too long for SOCKS")
        exchange.send(b"\x05\x01\x00\x03" + bytes((len(name),)) + name + port.to_bytes(2))
        _, code, _, kind = exchange.exactly(4)
        if code:
            raise self._refused(_SOCKS_ERRORS.get(code, f"code {code}"))
        exchange.exactly({1: 4, 4: 16}.get(kind) or exchange.exactly(1)[0])
        exchange.exactly(2)


def parse_proxy(url: str) -> Proxy:
    """Take the URL of a proxy apart.

    Raises:
        ValueError: not a proxy that can be used; the message does not quote the URL, which may hold a password.
    """
    parts = urlsplit(url.strip())
    scheme = {"http": "http", "socks5": "socks5", "socks5h": "socks5"}.get(parts.scheme)
    if scheme is None or not parts.hostname:
        raise ValueError("a proxy is written as http://host:port or socks5://host:port, with user:password@ where it wants them")
    try:
        port = parts.port or _PORTS[scheme]
    except ValueError:
        raise ValueError("the port of a proxy is a number from 1 to 65535") from None
    user, password = unquote(parts.username or ""), unquote(parts.password or "")
    if scheme == "socks5" and max(len(user.encode()), len(password.encode())) > _LONGEST_NAME:
        raise ValueError(f"user name and password of a SOCKS proxy have {_LONGEST_NAME} bytes at most")
    return Proxy("http" if scheme == "http" else "socks5", parts.hostname, port, user, password)
