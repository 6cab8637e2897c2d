"""Formats times in object keys: UTC, cached by the finest unit that a format shows, and never silently in 1970."""

from __future__ import annotations

import re
from datetime import UTC, datetime

UNKNOWN_TIME = "unknown-time"
"""Stands for the time of a message received before the device's clock was set."""

_CLOCK_KNOWN_SINCE = 1_577_836_800 * 10**9
"""2020-01-01: a wall clock before this has not been set since the device booted."""
_DIRECTIVE = re.compile(r"%(.?)", re.DOTALL)
_UNITS = {  # resolution of each directive in nanoseconds
    "Y": 3600 * 10**9, "y": 3600 * 10**9, "m": 3600 * 10**9, "d": 3600 * 10**9, "j": 3600 * 10**9,
    "G": 3600 * 10**9, "V": 3600 * 10**9, "u": 3600 * 10**9, "a": 3600 * 10**9, "A": 3600 * 10**9,
    "b": 3600 * 10**9, "B": 3600 * 10**9, "H": 3600 * 10**9, "I": 3600 * 10**9, "p": 3600 * 10**9,
    "M": 60 * 10**9, "S": 10**9, "f": 1000, "%": 3600 * 10**9,
}  # fmt: skip


class TimeFormat:
    """A strftime format of `received_at`, in UTC.

    Raises:
        ValueError: it has a directive that is not available on every platform.
    """

    def __init__(self, text: str) -> None:
        units = []
        for match in _DIRECTIVE.finditer(text):
            if match[1] not in _UNITS:
                known = " ".join(f"%{name}" for name in _UNITS)
                raise ValueError(f"{{time}} does not know {match[0]!r}; it knows {known}")
            units.append(_UNITS[match[1]])
        self._format = text
        self._unit = min(units, default=3600 * 10**9)
        self._bucket: int | None = None
        self._rendered = ""

    def render(self, received_at: int) -> str:
        """Format the time, or return `unknown-time` if the clock was not set."""
        bucket = received_at // self._unit
        if bucket != self._bucket:
            self._rendered = self._format_time(received_at)
            self._bucket = bucket
        return self._rendered

    def _format_time(self, received_at: int) -> str:
        if received_at < _CLOCK_KNOWN_SINCE:
            return UNKNOWN_TIME
        seconds, nanoseconds = divmod(received_at, 10**9)
        return datetime.fromtimestamp(seconds, UTC).replace(microsecond=nanoseconds // 1000).strftime(self._format)
