"""Weak points of a connection that let others on the network read or change the traffic."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final

_warned: set[tuple[str, str, str]] = set()
_MOST_WARNED: Final = 1000


def weak_points(host: str, *, encrypted: bool, insecure: bool, secret: str, instead: str) -> list[str]:
    """Describe each weak point in a sentence; a connection within this machine has none.

    Args:
        host: name or address of the peer.
        encrypted: True if the connection uses TLS.
        insecure: True if any certificate of the peer is accepted.
        secret: kind of credential sent, such as "password"; empty when there is none.
        instead: beginning of an encrypted URL.
    """
    if is_this_machine(host):
        return []
    found = []
    if insecure:
        found.append("`tls.insecure` accepts any certificate: others on the network can read and change all traffic")
    if secret and not encrypted:
        found.append(f"the {secret} is sent over the network in plain text: use {instead}")
    return found


def warn(points: Iterable[str], log: Any, name: str, place: str) -> None:
    """Log weak points of a source's or sink's connection, each at most once per process.

    Args:
        points: result of `weak_points`.
        log: logger of the source or sink.
        name: name of the source or sink.
        place: host and port, or URL, without credentials.
    """
    for point in points:
        key = (name, place, point)
        if key not in _warned and len(_warned) < _MOST_WARNED:
            _warned.add(key)
            log.warning(point, place=place)


def is_this_machine(host: str) -> bool:
    """Return True for a loopback address, and for `localhost`."""
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
