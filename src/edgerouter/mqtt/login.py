"""Credentials of one connection, made anew before each connect."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Login:
    """Everything secret of a CONNECT and of the WebSocket request before it."""

    username: str | None = None
    """User name."""
    password: str | None = field(default=None, repr=False)
    """Password, such as a token."""
    path: str | None = field(default=None, repr=False)
    """Path and query of the WebSocket; that of the URL by default."""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    """HTTP headers of the WebSocket's request, beside those of the settings."""
    lasts: float | None = None
    """Seconds after which a new login has to be made: the connection is then replaced between two messages."""


MakeLogin = Callable[[], Awaitable[Login]]
"""Makes a login; raises `Unavailable`, `Unauthorized` or `ValueError` where it cannot."""
