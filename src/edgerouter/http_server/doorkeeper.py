"""Bounds the connections of a listener: each costs a descriptor, and the spool and the control socket need some."""

from __future__ import annotations

import logging
from typing import Protocol

from aiohttp.http_exceptions import HttpProcessingError


class Guest(Protocol):
    """One connection of a listener."""

    @property
    def waits(self) -> bool:
        """True while nothing is being answered: the client has sent half a request, or none."""

    def abort(self) -> None:
        """End the connection now."""


class Doorkeeper:
    """Holds the connections of one listener.

    Beyond the bound the connection that has waited longest without a whole request is closed.

    Args:
        most: connections at once.
    """

    def __init__(self, most: int) -> None:
        self.open: dict[Guest, None] = {}
        """In the order in which they began to wait for what they have not sent yet."""
        self._most = most

    def admit(self, guest: Guest) -> bool:
        """Make room for a connection; False if all others have whole requests."""
        if len(self.open) >= self._most:
            idle = next((other for other in self.open if other.waits), None)
            if idle is None:
                return False
            idle.abort()
        self.open[guest] = None
        return True

    def begins_to_wait(self, guest: Guest) -> None:
        """Put a connection behind all that have waited longer."""
        self.open.pop(guest, None)
        self.open[guest] = None

    def leave(self, guest: Guest) -> None:
        """Forget a connection that is gone."""
        self.open.pop(guest, None)


def quiet_logger() -> logging.Logger:
    """Return a logger for aiohttp's server that omits malformed requests: they are the client's, and answered with 400."""
    logger = logging.getLogger("aiohttp.server.edgerouter")
    logger.addFilter(_is_ours)  # once, however often it is added
    return logger


def _is_ours(record: logging.LogRecord) -> bool:
    error = record.exc_info[1] if record.exc_info else None
    return not isinstance(error, HttpProcessingError)
