"""Priorities for systemd's journal: `<3>` before each line, as sd-daemon(3) describes."""

from __future__ import annotations

import logging
import os
from collections.abc import Mapping
from typing import Final

_PRIORITIES: Final = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
_DEBUG: Final = 7


def is_journal(descriptor: int, environment: Mapping[str, str] = os.environ) -> bool:
    """Return True if the descriptor is the stream to the journal that systemd made for this process.

    `JOURNAL_STREAM` alone proves nothing: a child inherits it though its output may go elsewhere.
    """
    device, _, inode = environment.get("JOURNAL_STREAM", "").partition(":")
    try:
        found = os.fstat(descriptor)
        return (int(device), int(inode)) == (found.st_dev, found.st_ino)
    except (OSError, ValueError):
        return False


def priority(level: int) -> int:
    """Return the priority of syslog(3) for a level of the standard library."""
    return next((number for least, number in _PRIORITIES if level >= least), _DEBUG)


class PriorityFormatter(logging.Formatter):
    """Puts the priority before every line that another formatter makes; the journal stores each line separately."""

    def __init__(self, formatter: logging.Formatter) -> None:
        super().__init__()
        self._formatter = formatter

    def format(self, record: logging.LogRecord) -> str:
        prefix = f"<{priority(record.levelno)}>"
        return prefix + self._formatter.format(record).replace("\n", f"\n{prefix}")
