"""The salvage of a damaged database as the event loop sees it: who has to wait for it, and what comes of it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Final, TypeVar

import structlog

from edgerouter.errors import SpoolError
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.sqlite.batches import Batches
from edgerouter.spool.sqlite.committer import Committer
from edgerouter.spool.sqlite.db.errors import DAMAGE
from edgerouter.spool.sqlite.db.transaction import Opened
from edgerouter.spool.sqlite.losses import Losses
from edgerouter.spool.sqlite.recovery.salvage import Progress
from edgerouter.spool.sqlite.store import Store
from edgerouter.spool.sqlite.thread import DatabaseThread

T = TypeVar("T")
RETRY: Final = 2.0
_ATTEMPTS: Final = 3

log = structlog.get_logger("edgerouter.spool")


class Salvaging:
    """Brings over messages in steps, in the order of their sequences.

    Args:
        store: the database.
        thread: of the database.
        committer: continues with the new database.
        ledgers: of all sinks.
        batches: kept batches.
        losses: counts what cannot be read.
        recount: called when messages may be lost that sinks have pending.
    """

    def __init__(
        self,
        store: Store,
        thread: DatabaseThread,
        committer: Committer,
        *,
        ledgers: Ledgers,
        batches: Batches,
        losses: Losses,
        recount: Callable[[], None],
    ) -> None:
        self._store = store
        self._thread = thread
        self._committer = committer
        self._ledgers = ledgers
        self._batches = batches
        self._losses = losses
        self._recount = recount
        self._loop = asyncio.get_running_loop()
        self._range: tuple[int, int] | None = None
        self._waiting: list[Callable[[], None]] = []
        self._recovering = False
        self._closed = False

    def recover(self, error: BaseException) -> None:
        """The database is damaged: have it replaced."""
        if self._recovering or self._closed:
            return
        self._recovering = True
        # the new database knows nothing: write down all that is known here
        self._ledgers.changed()
        self._batches.write_again(self._ledgers)
        self._thread.submit(partial(self._store.recover, error), partial(self._recovered, error))

    def _recovered(self, cause: BaseException, opened: Opened | None, error: BaseException | None) -> None:
        self._recovering = False
        if opened is None:
            log.error("the damaged database cannot be replaced, trying again", reason=str(error))
            self._loop.call_later(RETRY, self.recover, cause)
            return
        self._committer.usage.reopened(opened)
        self._committer.dead_letters.reopened(opened.dead_letters)
        self._committer.touch()
        self.start(opened.salvage)
        self._recount()
        self._wake()

    def start(self, salvage: tuple[int, int] | None) -> None:
        """Begin, if there is something to bring over."""
        if salvage is not None:
            self._range = (salvage[0], min(salvage[1], self._committer.usage.end))
            self._step()

    def stop(self) -> None:
        """Begin no further step; the next start goes on."""
        self._closed = True
        self._wake()

    @property
    def active(self) -> bool:
        """True while there is something to bring over."""
        return self._range is not None

    def ready(self, ranges: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """The part of sorted ranges that can be read by now, up to the first that cannot."""
        if self._range is None:
            return ranges
        at, high = self._range
        ready = []
        for start, end in ranges:
            if at <= start < high:
                break
            if start < at < end:
                ready.append((start, at))
                break
            ready.append((start, end))
        return ready

    def when_further(self, call: Callable[[], None]) -> None:
        """Call once more has been brought over."""
        self._waiting.append(call)

    async def finished(self) -> None:
        """Return when everything has been brought over; at once when there is nothing."""
        while (self._recovering or self.active) and not self._closed:
            further: asyncio.Future[None] = self._loop.create_future()
            self.when_further(partial(_settle, further))
            await further

    async def read(self, call: Callable[[], T]) -> T:
        """Read from the database, once all of it is there; where it turns out to be damaged, again when that has been mended.

        Raises:
            SpoolError: it is damaged again and again.
        """
        for _ in range(_ATTEMPTS):
            await self.finished()
            try:
                return await self._thread.run(call)
            except DAMAGE as error:
                self.recover(error)
        raise SpoolError("the spool is damaged again and again: the disk fails")

    def _step(self) -> None:
        if not self._closed:
            self._thread.submit(self._store.salvage_some, self._done)

    def _done(self, progress: Progress | None, error: BaseException | None) -> None:
        if progress is None:
            assert error is not None
            self._committer.cannot_write(error)
            self._loop.call_later(RETRY, self._step)
            return
        assert self._range is not None, "it is under way"
        high = self._range[1]
        self._losses.unreadable(progress.damaged)
        self._range = None if progress.done else (progress.at, high)
        self._committer.usage.messages += progress.messages
        self._wake()
        if not progress.done:
            self._step()
            return
        self._committer.trimming.examine_all(high)

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, []
        for call in waiting:
            call()


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
