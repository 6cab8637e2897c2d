"""Measures the resolution of the hosts' names."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import time
from collections.abc import Iterable
from contextlib import suppress
from functools import partial
from typing import Final

from edgerouter.doctor.endpoints import Endpoint
from edgerouter.doctor.finding import Finding, finding
from edgerouter.doctor.in_thread import in_thread

SUBJECT: Final = "dns"
_SECONDS: Final = 10.0
_SLOW: Final = 0.5


async def examine(endpoints: Iterable[Endpoint]) -> list[Finding]:
    """Resolve each name once."""
    hosts = dict.fromkeys(each.host for each in endpoints if not each.proxied and not _is_address(each.host))
    return list(await asyncio.gather(*(_resolved(host) for host in hosts)))


async def _resolved(host: str) -> Finding:
    began = time.monotonic()
    try:
        answers = await in_thread(partial(socket.getaddrinfo, host, None, type=socket.SOCK_STREAM), _SECONDS)
    except (OSError, UnicodeError, TimeoutError) as error:
        reason = f"no answer within {_SECONDS:g} s" if isinstance(error, TimeoutError) and not error.args else str(error)
        return finding(SUBJECT, host, "fail", f"cannot be resolved: {reason}", "look at the name, the name server and the network")
    seconds = time.monotonic() - began
    addresses = list(dict.fromkeys(str(answer[4][0]) for answer in answers))
    text = f"{', '.join(addresses[:3])}{' ...' if len(addresses) > 3 else ''} after {seconds * 1000:.0f} ms"
    if seconds < _SLOW:
        return finding(SUBJECT, host, "ok", text)
    return finding(SUBJECT, host, "warn", text, "a slow name server delays each connection: use one that is nearer, or a cache")


def _is_address(host: str) -> bool:
    with suppress(ValueError):
        return bool(ipaddress.ip_address(host.partition("%")[0]))
    return False
