"""The open links of an Event Hubs sink: one per write in flight, kept alive between writes, replaced when they break."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Self

from edgerouter_azure.event_hubs.producer_link import ProducerLink

_STALE_SECONDS = 1.0
"""A link that was silent for longer is looked at before it is used: what is noticed before sending costs no duplicate."""


class LinkPool:
    """Opens links as they are needed.

    Args:
        connect: opens one link.
        keep_alive: seconds after which a silent link is looked at: heartbeat, token.
        name: of the sink, for the names of tasks.
    """

    def __init__(self, connect: Callable[[], Awaitable[ProducerLink]], keep_alive: float, name: str) -> None:
        self._connect, self._keep_alive, self._name = connect, keep_alive, name
        self._idle: list[ProducerLink] = []
        self._ending: set[asyncio.Task[None]] = set()
        self._keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._keeper = asyncio.create_task(self._keep(), name=f"keep links of {self._name}")
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        while self._idle:
            await self._idle.pop().close()
        if self._ending:
            await asyncio.wait(self._ending)

    async def take(self) -> ProducerLink:
        """A link that worked a moment ago, for one send; give it back, or drop it."""
        while self._idle:
            link = self._idle.pop()
            stale = asyncio.get_running_loop().time() - link.used >= _STALE_SECONDS
            if await self._ready(link, look=stale):
                return link
        return await self._connect()

    def give_back(self, link: ProducerLink) -> None:
        """The link still works."""
        self._idle.append(link)

    def drop(self, link: ProducerLink) -> None:
        """End a link that is broken or in an unknown state, without making the caller wait."""
        task = asyncio.create_task(link.drop(), name=f"drop a link of {self._name}")
        self._ending.add(task)
        task.add_done_callback(self._ending.discard)

    def distrust(self) -> None:
        """An answer did not come: the network may have changed, and no other link that waits may know it yet."""
        while self._idle:
            self.drop(self._idle.pop())

    async def _ready(self, link: ProducerLink, *, look: bool) -> bool:
        try:
            await link.ready(look=look)
        except asyncio.CancelledError:
            self.drop(link)
            raise
        except Exception:  # noqa: BLE001  (any error on an idle link: a new link will show if the service is unreachable)
            self.drop(link)
            return False
        return True

    async def _keep(self) -> None:
        while True:
            now = asyncio.get_running_loop().time()
            due = [link for link in self._idle if now - link.used >= self._keep_alive]
            for link in due:
                if link in self._idle:
                    self._idle.remove(link)
                    if await self._ready(link, look=True):
                        self._idle.insert(0, link)
            await asyncio.sleep(self._keep_alive / 2)
