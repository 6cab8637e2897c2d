"""Clients: the bearer token identifies one, and decides which topics it may write to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from aiohttp import web

from edgerouter.http_server.problems import Problem
from edgerouter.http_server.tokens import TokenOwners
from edgerouter.sources.http.config import HttpSourceConfig
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

    Args:
        config: of the source.
    """

    def __init__(self, config: HttpSourceConfig) -> None:
        allowed = Matcher(config.topics)
        self._anonymous = None if config.tokens else Client("", allowed)
        self._clients = TokenOwners(
            (each.token.get_secret_value(), Client(name, _both(allowed, each.topics))) for name, each in config.tokens.items()
        )

    def client(self, request: web.BaseRequest) -> Client:
        """Return the client of a request.

        Raises:
            Problem: 401 without a valid token; 403 for a page in a browser where no tokens protect the source.
        """
        if self._anonymous is not None:
            # a page of any site can post to an address of this machine; browsers name the site
            if "Origin" in request.headers:
                raise Problem(403, "pages in browsers are served only with a token: set `tokens` of this source")
            return self._anonymous
        client = self._clients.owner(request)
        if client is None:
            text = "send a valid bearer token of this source in the header Authorization"
            raise Problem(401, text, headers={"WWW-Authenticate": 'Bearer realm="edgerouter"'})
        return client


def _both(allowed: Matcher, topics: tuple[str, ...] | None) -> Callable[[str], bool]:
    if topics is None:
        return allowed
    own = Matcher(topics)
    return lambda topic: own(topic) and allowed(topic)
