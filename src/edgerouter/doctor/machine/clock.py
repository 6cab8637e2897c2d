"""Looks at the clock: a sane date, synchronisation, the time zone, and the difference to the clocks of web services."""

from __future__ import annotations

import asyncio
import ctypes
import os
import time
from collections.abc import Iterable
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Final

import aiohttp

from edgerouter.doctor.endpoints import Endpoint
from edgerouter.doctor.finding import Finding, finding
from edgerouter.doctor.in_thread import in_thread
from edgerouter.http_client import PLAIN, bounded
from edgerouter.tls import make_context

SUBJECT: Final = "clock"
_BUILT: Final = 1_750_000_000
"""June 2025: a clock before it is not set."""
_TIME_SYNC: Final = Path("/run/systemd/timesync/synchronized")
_UNSYNCHRONISED: Final = 0x40
_SECONDS: Final = 10.0
_SMALL: Final = 5.0
_REFUSED: Final = 240.0
"""Signed requests that are five minutes off are refused by AWS, and tokens by others."""
_CURE: Final = "set the clock: `timedatectl set-ntp true`, or chrony"


class _Timex(ctypes.Structure):
    """Head of the kernel's `struct timex`, and room for the rest."""

    _fields_ = (
        ("modes", ctypes.c_uint),
        ("offset", ctypes.c_long),
        ("freq", ctypes.c_long),
        ("maxerror", ctypes.c_long),
        ("esterror", ctypes.c_long),
        ("status", ctypes.c_int),
        ("rest", ctypes.c_byte * 512),
    )


async def examine(endpoints: Iterable[Endpoint]) -> list[Finding]:
    """Look at this machine's clock, and compare it with those of web services."""
    web = [each for each in endpoints if each.dated and not each.proxied]
    return [_date(time.time()), _synchronised(), _zone(), *await asyncio.gather(*(_compared(each) for each in web))]


def _date(now: float) -> Finding:
    text = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _BUILT:
        return finding(SUBJECT, "date", "fail", f"{text}: the clock is not set", _CURE)
    return finding(SUBJECT, "date", "ok", text)


def _synchronised() -> Finding:
    name, status, error = "synchronised", _kernel_status(), ""
    if isinstance(status, OSError):
        error, status = str(status.strerror), None
    if status is not None and not status & _UNSYNCHRONISED:
        return finding(SUBJECT, name, "ok", "the kernel's clock is synchronised")
    if _TIME_SYNC.exists():
        return finding(SUBJECT, name, "ok", "systemd-timesyncd has synchronised the clock since the start of the machine")
    if status is None:
        return finding(SUBJECT, name, "unknown", f"the kernel does not say: {error or 'no adjtimex'}")
    return finding(SUBJECT, name, "warn", "nothing synchronises the kernel's clock; it drifts by seconds a day", _CURE)


def _kernel_status() -> int | OSError | None:
    """Return the status bits of the kernel's clock, the error of asking, or nothing where there is no such call."""
    adjtimex = getattr(ctypes.CDLL(None, use_errno=True), "adjtimex", None)
    if adjtimex is None:
        return None
    timex = _Timex()
    if adjtimex(ctypes.byref(timex)) < 0:
        number = ctypes.get_errno()
        return OSError(number, os.strerror(number))
    return int(timex.status)


def _zone() -> Finding:
    name, offset = time.localtime().tm_zone, time.localtime().tm_gmtoff
    return finding(SUBJECT, "time zone", "ok", f"{name}, {offset / 3600:+g} h; object keys and records use UTC")


async def _compared(endpoint: Endpoint) -> Finding:
    name = f"against {endpoint.address}"
    try:
        async with asyncio.timeout(_SECONDS):
            ahead = await _difference(endpoint)
    except (aiohttp.ClientError, OSError, ValueError, TimeoutError) as error:
        return finding(SUBJECT, name, "unknown", f"not compared: {error or type(error).__name__}")
    if ahead is None:
        return finding(SUBJECT, name, "unknown", "its answers have no usable header Date")
    text = f"this machine's clock is {abs(ahead):.0f} s {'ahead' if ahead > 0 else 'behind'}"
    if abs(ahead) <= _SMALL:
        return finding(SUBJECT, name, "ok", f"equal within {_SMALL:.0f} s")
    if abs(ahead) < _REFUSED:
        return finding(SUBJECT, name, "warn", text, _CURE)
    return finding(SUBJECT, name, "fail", f"{text}: services refuse signed requests and tokens", _CURE)


async def _difference(endpoint: Endpoint) -> float | None:
    """Return the seconds by which our clock is ahead, from the header Date of any answer; no credentials are sent."""
    context = await in_thread(lambda: make_context(endpoint.tls), _SECONDS) if endpoint.encrypted else False
    connector = bounded(aiohttp.TCPConnector(ssl=context, force_close=True))
    async with (
        aiohttp.ClientSession(connector=connector, headers=PLAIN) as session,
        session.head(endpoint.dated, allow_redirects=False) as response,
    ):
        date = response.headers.get("Date")
        return None if date is None else time.time() - parsedate_to_datetime(date).timestamp()
