"""Rate limits: a token bucket for all clients, and one for each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from edgerouter.http_server.problems import Problem
from edgerouter.sources.http.config import RateConfig

_MOST_CLIENTS: Final = 10_000
"""Buckets kept; a client chooses its address, and with IPv6 it has many."""


class RateLimit:
    """Refuses requests while a bucket is in debt.

    Args:
        config: the user's `rate`.
        clock: monotonic seconds.
    """

    def __init__(self, config: RateConfig, clock: Callable[[], float]) -> None:
        self.unlimited = config.messages is None and config.client_messages is None
        self._clock = clock
        self._all = None if config.messages is None else _Bucket(config.messages, clock())
        self._client_rate = config.client_messages
        self._clients: dict[str, _Bucket] = {}

    def check(self, client: str) -> None:
        """Refuse a request of this client if it has sent too much.

        Raises:
            Problem: 429, with the time to wait.
        """
        for bucket, whose in self._buckets(client):
            if (wait := bucket.debt(self._clock())) > 0:
                text = f"{whose} more than {bucket.rate:g} messages a second: wait as long as Retry-After says, then send again"
                raise Problem(429, text, retry_after=wait)

    def count(self, client: str, messages: int) -> None:
        """Count accepted messages; may leave a debt that later requests wait for."""
        for bucket, _ in self._buckets(client):
            bucket.take(messages)

    def _buckets(self, client: str) -> list[tuple[_Bucket, str]]:
        found = [] if self._all is None else [(self._all, "all clients together sent")]
        if self._client_rate is not None:
            bucket = self._clients.get(client)
            if bucket is None:
                if len(self._clients) >= _MOST_CLIENTS:
                    del self._clients[next(iter(self._clients))]
                bucket = self._clients[client] = _Bucket(self._client_rate, self._clock())
            found.append((bucket, "this client sent"))
        return found


class _Bucket:
    """Holds a second's worth at most, and at least one message; may be in debt."""

    def __init__(self, rate: float, now: float) -> None:
        self.rate = rate
        self._most = self._tokens = max(rate, 1.0)
        self._at = now

    def debt(self, now: float) -> float:
        """Return the seconds until a message may be sent; at most 0 if it may be sent now."""
        self._tokens = min(self._most, self._tokens + (now - self._at) * self.rate)
        self._at = now
        return (1.0 - self._tokens) / self.rate

    def take(self, amount: float) -> None:
        self._tokens -= amount
