"""Clients: the bearer token identifies one, and decides which topics it may write to."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from edgerouter.sources.http.config import HttpSourceConfig
from edgerouter.sources.http.problems import Problem
from edgerouter.topics import Matcher


@dataclass(frozen=True, slots=True)
class Client:
    """A client that may write."""

    name: str
    """Name of its token; empty for a client without one."""
    allows: Callable[[str], bool]
    """True for a topic that the client may write to."""


class Clients:
    """Finds the client of a request.

    A token is looked up by a digest with a key that is chosen at the start. So the time of a look-up depends on nothing that a
    sender of wrong tokens could learn from.

    Args:
        config: of the source.
    """

    def __init__(self, config: HttpSourceConfig) -> None:
        self._key = secrets.token_bytes(32)
        allowed = Matcher(config.topics)
        self._anonymous = None if config.tokens else Client("", allowed)
        self._clients = {
            self._digest(each.token.get_secret_value()): Client(name, _both(allowed, each.topics))
            for name, each in config.tokens.items()
        }

    def client(self, request: web.BaseRequest) -> Client:
        """Return the client of a request.

        Raises:
            Problem: 401 without a valid token; 403 for a page in a browser where no tokens protect the source.
        """
        headers = request.headers
        if self._anonymous is not None:
            # a page of any site can post to an address of this machine; browsers name the site
            if "Origin" in headers:
                raise Problem(403, "pages in browsers are served only with a token: set `tokens` of this source")
            return self._anonymous
        scheme, _, token = headers.get("Authorization", "").partition(" ")
        client = self._clients.get(self._digest(token.strip())) if scheme.lower() == "bearer" else None
        if client is None:
            text = "send a valid bearer token of this source in the header Authorization"
            raise Problem(401, text, headers={"WWW-Authenticate": 'Bearer realm="edgerouter"'})
        return client

    def _digest(self, token: str) -> bytes:
        return hashlib.blake2b(token.encode(errors="surrogateescape"), key=self._key, digest_size=32).digest()


def _both(allowed: Matcher, topics: tuple[str, ...] | None) -> Callable[[str], bool]:
    if topics is None:
        return allowed
    own = Matcher(topics)
    return lambda topic: own(topic) and allowed(topic)
