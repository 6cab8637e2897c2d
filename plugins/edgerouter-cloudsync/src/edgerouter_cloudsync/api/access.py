"""Callers that are let in: this machine, allowed networks, within a rate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address
from typing import Final

from aiohttp import web

from edgerouter import TopicCache
from edgerouter_cloudsync.api.answers import from_a_page, not_local, too_many

Network = IPv4Network | IPv6Network
_LOCAL_NAMES: Final = (".localhost", ".local")
_MOST_BYTES: Final = 64 * 1024
"""Bound of the addresses, and of the names of hosts, whose kind is remembered."""


class Access:
    """Decides about callers by their address.

    Args:
        allow: networks beside this machine.
        per_second: most requests a second, of all callers together.
        clock: monotonic seconds.
    """

    def __init__(self, allow: Sequence[Network], per_second: float, clock: Callable[[], float]) -> None:
        self._allow = tuple(allow)
        self._per_second = per_second
        self._clock = clock
        self._tokens = per_second
        self._at = clock()
        self._on_loopback: TopicCache[str, bool] = TopicCache(_is_loopback, most_bytes=_MOST_BYTES)
        self._names_a_machine: TopicCache[str, bool] = TopicCache(_names_a_machine, most_bytes=_MOST_BYTES)

    def check(self, request: web.BaseRequest) -> None:
        """Return for a caller that is let in.

        Raises:
            Refusal: 403 or 429.
        """
        local = self._is_local(request)
        if not local and not self._is_allowed(request.remote or ""):
            raise not_local(request.remote or "the caller")
        # a page of any site can send a simple request here; and after DNS rebinding, read the answers under that site's name
        if "Origin" in request.headers or (local and not self._names_a_machine[request.host]):
            raise from_a_page()
        now = self._clock()
        self._tokens = min(self._per_second, self._tokens + (now - self._at) * self._per_second)
        self._at = now
        if self._tokens < 1:
            raise too_many((1 - self._tokens) / self._per_second)
        self._tokens -= 1

    def _is_local(self, request: web.BaseRequest) -> bool:
        """Return True for a caller on this machine: on the loopback, or under the address that it has called."""
        transport = request.transport
        if transport is None:
            return False
        peer, own = transport.get_extra_info("peername"), transport.get_extra_info("sockname")
        if not isinstance(peer, tuple) or not isinstance(own, tuple):
            return False
        return bool(peer[0] == own[0] or self._on_loopback[peer[0]])

    def _is_allowed(self, caller: str) -> bool:
        try:
            address = ip_address(_plain(caller))
        except ValueError:
            return False
        return any(address in network for network in self._allow)


def _is_loopback(address: str) -> bool:
    return ip_address(_plain(address)).is_loopback


def _names_a_machine(host: str) -> bool:
    """Return True for an address, and for a name that no site of the Internet can have."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if "." not in name or name.endswith(_LOCAL_NAMES):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _plain(address: str) -> str:
    """Return an IPv4 address in the form that IPv6 sockets show it in as IPv4, and an IPv6 address without its zone."""
    return address.removeprefix("::ffff:").partition("%")[0]
