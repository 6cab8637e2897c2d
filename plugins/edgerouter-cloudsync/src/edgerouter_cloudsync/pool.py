"""Connections to brokers: one for each, made when it is needed and closed when it is unused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

from edgerouter import Unavailable
from edgerouter.mqtt import BrokerSettings, Link, Publisher
from edgerouter_cloudsync.brokers import find

_LOOKS: Final = 4
"""Times that the pool looks for unused connections while one becomes old enough to be closed."""


@dataclass(slots=True)
class _Entry:
    publisher: Publisher
    users: int = 0
    unused_since: float = 0.0
    answers: bool = False
    """The last connect succeeded."""


class Pool:
    """Publishers by broker.

    Args:
        make: makes the publisher of a broker.
        closed: gets each broker whose connection was closed.
        idle: seconds after which an unused connection is closed.
        most: most connections.
    """

    def __init__(
        self, make: Callable[[str, BrokerSettings], Publisher], closed: Callable[[str], None], idle: float, most: int
    ) -> None:
        self._make = make
        self._closed = closed
        self._idle = idle
        self._most = most
        self._entries: dict[str, _Entry] = {}
        self._now = asyncio.get_running_loop().time

    def __len__(self) -> int:
        return len(self._entries)

    @asynccontextmanager
    async def link(self, broker: str, settings: BrokerSettings) -> AsyncIterator[Link]:
        """Yield the connection to a broker, made anew when it was lost or closed.

        Raises:
            Unavailable: the broker is not there or refuses us, or too many others are in use.
        """
        entry = self._entries.get(broker) or await self._add(broker, settings)
        entry.users += 1
        try:
            if not entry.answers:
                await find(settings)
            try:
                link = await entry.publisher.connected()
            except Unavailable:
                entry.answers = False
                raise
            entry.answers = True
            yield link
        finally:
            entry.users -= 1
            entry.unused_since = self._now()

    async def run(self, tidy: Callable[[], None]) -> None:
        """Close what is unused, for ever; `tidy` is called with each look."""
        while True:
            await asyncio.sleep(self._idle / _LOOKS)
            tidy()
            due = self._now() - self._idle
            for broker, entry in list(self._entries.items()):
                if not entry.users and entry.unused_since <= due:
                    await self._close(broker)

    async def close(self) -> None:
        """Close every connection."""
        await asyncio.gather(*(self._close(broker) for broker in list(self._entries)))

    async def _add(self, broker: str, settings: BrokerSettings) -> _Entry:
        while len(self._entries) >= self._most:
            unused = [(entry.unused_since, name) for name, entry in self._entries.items() if not entry.users]
            if not unused:
                raise Unavailable(f"{len(self._entries)} brokers are in use at once, which is the most: `max_connections`")
            await self._close(min(unused)[1])
        return self._entries.setdefault(broker, _Entry(self._make(broker, settings)))

    async def _close(self, broker: str) -> None:
        entry = self._entries.pop(broker, None)
        if entry is not None:
            self._closed(broker)
            await entry.publisher.close()
