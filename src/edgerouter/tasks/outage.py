"""Outages: how long to wait at most before a service that cannot be reached is tried again."""

from __future__ import annotations

import errno
import socket
from typing import Final

_NOT_THERE: Final = {errno.ECONNREFUSED, errno.ENETUNREACH, errno.EHOSTUNREACH, errno.ENETDOWN, errno.EHOSTDOWN}
_LEAST: Final = 2.0
"""Seconds up to which the delay may grow in any case."""
_SHARE: Final = 10
"""Fraction of the outage that a delay may last."""
_DEEPEST: Final = 20


def is_unreachable(error: BaseException) -> bool:
    """Return True if no connection was made, by the system's error that this one was raised from: nothing was sent."""
    each: BaseException | None = error
    for _ in range(_DEEPEST):
        if each is None:
            return False
        if isinstance(each, socket.gaierror) or (isinstance(each, OSError) and each.errno in _NOT_THERE):
            return True
        each = each.__cause__ or each.__context__
    return False


def longest_delay(cause: BaseException, away: float, max_delay: float) -> float:
    """Return the upper bound of the next delay, in seconds.

    An attempt that finds no listener costs three packets at most and no work of the service, so it may be repeated soon: what
    comes back after seconds is noticed within two, and later within a tenth of the time that it was away.

    Args:
        cause: of the failure.
        away: seconds since the first attempt that failed.
        max_delay: the user's bound.
    """
    return min(max_delay, max(_LEAST, away / _SHARE)) if is_unreachable(cause) else max_delay
