"""Arguments of commands: numbers within bounds, topic filters, points in time, and tokens in files."""

from __future__ import annotations

import math
import re
import time
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Final, TypeVar

import typer

if TYPE_CHECKING:
    from pathlib import Path

_MOST = 2**63 - 1
_MOST_TOKEN_BYTES: Final = 4096

Number = TypeVar("Number", int, "list[int]", None)


def in_64_bits(value: Number) -> Number:
    """Return a number, or numbers, that can count messages."""
    for each in value if isinstance(value, list) else [1 if value is None else value]:
        if not 0 < each <= _MOST:
            raise typer.BadParameter(f"{each} is not a number from 1 to {_MOST}")
    return value


def finite(value: float | None) -> float | None:
    """Return a number of seconds, which is not `nan` or `inf`."""
    if value is not None and not math.isfinite(value):
        raise typer.BadParameter("should be a number of seconds")
    return value


def topic_filter(text: str | None) -> str | None:
    """Return an MQTT topic filter."""
    from edgerouter.topics import check_filter  # noqa: PLC0415  (`--version` answers at once)

    try:
        return text if text is None else check_filter(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def topic_filters(texts: list[str] | None) -> list[str] | None:
    """Return MQTT topic filters."""
    for text in texts or []:
        topic_filter(text)
    return texts


def period(since: str | None, until: str | None) -> dict[str, int | None]:
    """Return the times of `--from` and `--to` as the operations take them.

    Raises:
        ConfigurationError: one cannot be read, or the second is not after the first.
    """
    from edgerouter.errors import ConfigurationError  # noqa: PLC0415  (`--version` answers at once)

    found = {"since": moment(since), "until": moment(until)}
    if found["since"] is not None and found["until"] is not None and found["since"] >= found["until"]:
        raise ConfigurationError(f"--to {until} is not after --from {since}")
    return found


def moment(text: str | None) -> int | None:
    """Return a time as users write it, in nanoseconds since 1970-01-01 UTC.

    Args:
        text: `2026-11-20T08:00`, `2026-11-20`, or `2h` for two hours ago.

    Raises:
        ConfigurationError: neither, or before 1970 or after 2262, which 64 bits do not hold.
    """
    from edgerouter.errors import ConfigurationError  # noqa: PLC0415  (`--version` answers at once)
    from edgerouter.units import parse_duration  # noqa: PLC0415

    if text is None:
        return None
    found: int | None = None
    with suppress(ValueError):
        if re.search(r"[a-z]\s*$", text):
            found = time.time_ns() - int(parse_duration(text) * 1e9)
    # out of range for the C library, which knows no time zone then
    with suppress(ValueError, OverflowError, OSError):
        if found is None:
            # without an offset: the device's own time
            found = int(datetime.fromisoformat(text).astimezone().timestamp() * 1e9)
    if found is None or not 0 <= found < 2**63:
        raise ConfigurationError(
            f"not a time from 1970 to 2262: {text!r}; write for example 2026-11-20T08:00, or 2h for two hours ago"
        )
    return found


def token_of(file: Path) -> str:
    """Return the token that a file holds.

    Raises:
        ConfigurationError: it cannot be read, or holds none.
    """
    from edgerouter.errors import ConfigurationError  # noqa: PLC0415
    from edgerouter.private_files import read_private  # noqa: PLC0415

    try:
        text = read_private(file, _MOST_TOKEN_BYTES).decode("ascii").strip()
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"--token-file: {file} cannot be read: {getattr(error, 'strerror', None) or 'not text'}") from None
    if not text or not text.isprintable() or " " in text:
        raise ConfigurationError(f"--token-file: {file} holds no token: one line of printable characters without spaces")
    return text
