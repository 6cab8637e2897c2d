"""Addresses to listen on, and listening sockets."""

from __future__ import annotations

import socket
from typing import Annotated, Any, TypeAlias

from pydantic import AfterValidator

from edgerouter.errors import ConfigurationError

Resolved: TypeAlias = tuple[socket.AddressFamily, Any]
"""Family and place of one address of a name."""


def check_listen(text: str) -> str:
    """Return the address unchanged.

    Raises:
        ValueError: not `HOST:PORT`.
    """
    host, _, port = text.rpartition(":")
    if not host or not port.isascii() or not port.isdigit() or int(port) > 65_535:
        raise ValueError("should be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080")
    if ":" in host and not (host.startswith("[") and host.endswith("]")):
        raise ValueError("an IPv6 address stands in brackets, for example [::1]:8080")
    return text


ListenAddress = Annotated[str, AfterValidator(check_listen)]
"""A field that holds an address to listen on."""


def host_of(address: str) -> str:
    """Return the host of an address, without brackets."""
    return address.rpartition(":")[0].strip("[]")


def tcp_listener(address: str, field: str, *, backlog: int = 64) -> socket.socket:
    """Return a listening socket on `host:port`; for a name, on its first address.

    Args:
        address: checked by `check_listen`.
        field: name of the configuration's field, for the error.
        backlog: connections that wait to be accepted.

    Raises:
        ConfigurationError: not an address, not one of this machine, or in use.
    """
    return _listening(_resolved(address, field)[0], address, field, backlog)


def tcp_listeners(address: str, field: str, *, backlog: int = 64) -> list[socket.socket]:
    """Return listening sockets on all addresses of a name, such as both of `localhost`; otherwise as `tcp_listener`."""
    found: list[socket.socket] = []
    try:
        # what is open before one fails stays in the list
        found.extend(_listening(resolved, address, field, backlog) for resolved in dict.fromkeys(_resolved(address, field)))
    except ConfigurationError:
        for listener in found:
            listener.close()
        raise
    return found


def _resolved(address: str, field: str) -> list[Resolved]:
    try:
        answers = socket.getaddrinfo(host_of(address), int(address.rpartition(":")[2]), type=socket.SOCK_STREAM)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{field}: {address!r} is not an address such as 127.0.0.1:8080 ({error})") from error
    return [(family, resolved) for family, _, _, _, resolved in answers]


def _listening(resolved: Resolved, address: str, field: str, backlog: int) -> socket.socket:
    family, place = resolved
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(place)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"{field}: cannot listen on {address}: {error.strerror}") from error
    return listener
