"""Ways in which others on the network can read or change what passes through a connection."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import ip_address
from typing import Any, Final

_warned: set[tuple[str, str, str]] = set()
_MOST_WARNED: Final = 1000


def weak_points(host: str, *, encrypted: bool, insecure: bool, secret: str, instead: str) -> list[str]:
    """Name each weak point in a sentence; a connection within this machine has none.

    Args:
        host: name or address of the other side.
        encrypted: the connection is made with TLS.
        insecure: any certificate of the other side is accepted.
        secret: what lets us in, such as "password"; empty when there is nothing.
        instead: how a URL begins that is encrypted.
    """
    if _is_this_machine(host):
        return []
    found = []
    if insecure:
        found.append("`tls.insecure` accepts any certificate: others on the network can read and change everything")
    if secret and not encrypted:
        found.append(f"the {secret} goes over the network in plain text: use {instead}")
    return found


def warn(points: Iterable[str], log: Any, name: str, place: str) -> None:
    """Log weak points of a source's or sink's connection, each once in the life of the process.

    Args:
        points: from `weak_points`.
        log: of the source or sink.
        name: of the source or sink.
        place: host and port, or URL, without credentials.
    """
    for point in points:
        key = (name, place, point)
        if key not in _warned and len(_warned) < _MOST_WARNED:
            _warned.add(key)
            log.warning(point, place=place)


def _is_this_machine(host: str) -> bool:
    try:
        return ip_address(host.partition("%")[0]).is_loopback
    except ValueError:
        return host.rstrip(".").lower() == "localhost"
