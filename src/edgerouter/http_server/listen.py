"""Addresses to listen on, and listening sockets."""

from __future__ import annotations

import socket
from typing import Annotated

from pydantic import AfterValidator

from edgerouter.errors import ConfigurationError


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
    """Return a listening socket on `host:port`.

    Args:
        address: checked by `check_listen`.
        field: name of the configuration's field, for the error.
        backlog: connections that wait to be accepted.

    Raises:
        ConfigurationError: not an address, not one of this machine, or in use.
    """
    try:
        port = int(address.rpartition(":")[2])
        family, kind, protocol, _, resolved = socket.getaddrinfo(host_of(address), port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
    except (ValueError, OSError) as error:
        raise ConfigurationError(f"{field}: {address!r} is not an address such as 127.0.0.1:8080 ({error})") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(resolved)
        listener.listen(backlog)
    except OSError as error:
        listener.close()
        raise ConfigurationError(f"{field}: cannot listen on {address}: {error.strerror}") from error
    return listener
