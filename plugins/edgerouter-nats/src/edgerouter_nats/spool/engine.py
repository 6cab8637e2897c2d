"""The parts of the spool, put together, and the tasks that they run in."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.grouping import Append
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.receipts import Receipts
from edgerouter_nats.spool.api import Api, ApiError
from edgerouter_nats.spool.appender import Appender
from edgerouter_nats.spool.chunks import Chunks, Sinks
from edgerouter_nats.spool.counting import Counting
from edgerouter_nats.spool.earlier import unacknowledged
from edgerouter_nats.spool.holding import Holding
from edgerouter_nats.spool.names import Names, digest_of
from edgerouter_nats.spool.positions import Positions
from edgerouter_nats.spool.room import FullStream
from edgerouter_nats.spool.routers import Announcement, RouterRecord
from edgerouter_nats.spool.routing import Routing
from edgerouter_nats.spool.sealing import Sealing
from edgerouter_nats.spool.sequences import chunk_of, first_of
from edgerouter_nats.spool.settings import Settings
from edgerouter_nats.spool.state import State
from edgerouter_nats.spool.storage import DeadLetterStore, SharedLog
from edgerouter_nats.spool.stored import Envelopes, Opened, Sealed
from edgerouter_nats.spool.stream import Prepared, patiently, prepare
from edgerouter_nats.spool.tail import Tail
from edgerouter_nats.spool.trimming import Trimming
from edgerouter_nats.spool.writer import Writer

_LOOK_EVERY: Final = 10
"""Seconds between two looks at the state of the other routers while nothing happens here."""

log = structlog.get_logger("edgerouter.spool")


class Engine:
    """Everything behind the spool.

    Args:
        api: of JetStream.
        settings: of the spool.
        router: name of this router.
        prepared: the stream and its bucket.
        dead_letters: store of dead letters.
        group: runs the tasks.
    """

    def __init__(
        self,
        api: Api,
        settings: Settings,
        router: str,
        prepared: Prepared,
        *,
        dead_letters: DeadLetterStore,
        group: asyncio.TaskGroup,
    ) -> None:
        self.id = prepared.spool
        self.api = api
        self.router = router
        self.names = Names(settings.stream)
        self.routing = Routing()
        self.state = State(api, self.names)
        self.ledgers = Ledgers()
        self.dropped, self._stopped = 0, False
        self._seconds, self._trimmed = 0, (0, 0)
        self._settings = settings
        self._prepared = prepared
        self._dead_letters = dead_letters
        self._group = group
        self._tasks: list[asyncio.Task[None]] = []
        self.envelopes = Envelopes(self.id)
        self.chunks = Chunks(api, self.names, self.envelopes, self._sinks)
        self.announcement = Announcement(self.state, self.names, router, self._announced)

    async def start(self) -> None:
        """Find out where the last run ended, and start the tasks.

        Raises:
            Unavailable: JetStream does not answer.
        """
        stream = await self.api.state(self.names.stream)
        earlier, incarnation = await self.announcement.begin(stream.last + 1)
        incarnation += self._prepared.incarnations_from
        self._make_log(stream.last + 1, incarnation)
        self._make_writer(stream.last, incarnation)
        upto = await self.writer.begin(again=earlier.at > 0)
        self.receipts = Receipts(
            await unacknowledged(self.chunks, self.names.subject(self.router), earlier.keep_from, upto),
            released=self.trimming.touch,
        )
        self.appender = Appender(
            self.writer,
            Sealing(self.api.link, self.envelopes, self.routing),
            self.routing,
            acknowledged=lambda append, chunk: self.receipts.stored(append, chunk.first),
            drop=self._drop,
            end=lambda: chunk_of(self.tail.end),
        )
        self.api.link.hear(self.names.appended, self.tail.announced)
        await self.trimming.refresh()
        self._run()

    def _make_log(self, end: int, incarnation: int) -> None:
        """Make what reads the stream from `end` on, and keeps positions in it."""
        tail = self.tail = Tail(self.chunks, self.ledgers, end, cache_bytes=self._settings.cache_bytes, counted=self._counted)
        run = f"{self.router}-{incarnation}"
        self.positions = Positions(self.state, self.names, run, self._settings.commit_interval, lambda: tail.end)
        self.trimming = Trimming(
            self.api,
            self.names,
            self.state,
            self._settings,
            spool=self.id,
            router=self.router,
            end=lambda: tail.end,
            keep_from=self._keep_from,
            rewrite=self.positions.rewrite,
        )
        self.counting = Counting(self.chunks, tail, self.ledgers, self.positions)
        self.log = SharedLog(
            chunks=self.chunks,
            tail=tail,
            ledgers=self.ledgers,
            positions=self.positions,
            counting=self.counting,
            dead_letters=self._dead_letters,
            spawn=self._group.create_task,
        )
        self.holding = Holding(
            self.log,
            chunks=self.chunks,
            tail=tail,
            ledgers=self.ledgers,
            positions=self.positions,
            counting=self.counting,
            from_oldest_to=first_of(self._prepared.without_positions + 1) if self._prepared.without_positions else 0,
        )

    def _make_writer(self, last: int, incarnation: int) -> None:
        """Make what writes behind the sequence `last` of the stream."""
        room = FullStream(
            self.api,
            self.names,
            self._settings,
            trimming=self.trimming,
            positions=self.positions,
            ledgers=self.ledgers,
            chunks=self.chunks,
            routing=self.routing,
        )
        self.writer = Writer(
            self.api,
            self.names,
            self.router,
            incarnation,
            newest=last,
            mark=self.envelopes.mark(),
            stored=self._stored,
            newest_process=self.announcement.check,
            stream=lambda: self.trimming.stream,
            room=room,
            safety=self._safety,
        )

    def _run(self) -> None:
        runs: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
            "tail": self.tail.run,
            "append": self.appender.run,
            "positions": self.positions.run,
            "trim": lambda: self.trimming.run(self._every_second),
            "announce": self._announce,
        }
        self._tasks = [self._group.create_task(_kept_running(name, run), name=f"spool-{name}") for name, run in runs.items()]

    async def stop(self) -> None:
        """Take no more deliveries, write what is settled, and end the tasks."""
        self.appender.close()
        self.counting.stop_all()
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self.positions.last_round()
        self._stopped = True
        try:
            await self.announcement.write()
        except (Unavailable, SpoolError) as error:
            log.debug("the router's record is not written", reason=str(error))

    # -- what the parts ask of each other ---------------------------------------------------------------------------------------

    def _sinks(self) -> Sinks:
        return {
            ledger.key: (digest_of(ledger.filters), self.ledgers.wants(ledger))
            for ledger in self.ledgers
            # a sink that is detached wants nothing that is new
            if self.ledgers.reader(ledger.name) is not None
        }

    async def _safety(self, *, again: bool) -> str:
        """Return why nothing may be stored now; empty where it may."""
        if again:
            with suppress(ApiError):
                await self.trimming.refresh()
        return self.trimming.unsafe

    def _counted(self) -> None:
        self.positions.touch_lazily()

    def _stored(self, sequence: int, sealed: Sealed) -> Chunk:
        chunk = sealed.numbered(self.id, sequence)
        self.tail.stored(sequence, Opened(chunk, self.routing.digests, ()))
        self.api.link.announce(self.names.appended, str(sequence).encode())
        return chunk

    def _drop(self, append: Append, reason: str) -> None:
        self.dropped += len(append.delivery.messages)
        self.ledgers.reject(append, reason)
        topics = [message.topic for message in append.delivery.messages]
        for sink, matches in self.routing.rejected(append).items():
            if sink not in self.ledgers:
                self.ledgers.drops.count(sink, Counter(filter(matches, topics)), reason)

    def _announced(self, earlier: RouterRecord) -> RouterRecord:
        keep_from = self._keep_from()
        # a router that has ended in good order needs nothing that comes later
        none = self._stopped and not self.appender.storing_from and keep_from == chunk_of(self.tail.end)
        return RouterRecord(
            self.routing.sinks,
            0 if none else keep_from,
            earlier.appended + self.appender.messages,
            earlier.dropped + self.dropped,
            time.time(),
        )

    def _keep_from(self) -> int:
        """Return the least stream sequence that is needed here: of receipts, and of what may be stored without an answer yet."""
        kept = chunk_of(min((first for first, _ in self.receipts.spans().values()), default=self.tail.end))
        return min(kept, self.appender.storing_from or kept)

    def _every_second(self) -> None:
        # what can be trimmed is read from the positions
        self.ledgers.settled.remove(0, self.tail.end)
        self._seconds += 1
        now = (self.tail.end, self.positions.rounds)
        if now != self._trimmed or self._seconds % _LOOK_EVERY == 0:
            self._trimmed = now
            self.trimming.touch()

    async def _announce(self) -> None:
        while True:
            await asyncio.sleep(1.0)
            try:
                await self.announcement.write()
            except (Unavailable, SpoolError) as error:
                log.debug("the router's record cannot be written, trying again", reason=str(error))


async def _kept_running(name: str, run: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run until cancelled; a mistake in one part must not end the router."""
    while True:
        try:
            await run()
        except Exception:
            log.exception("a part of the spool has failed and is started again", part=name)
        await asyncio.sleep(1.0)


@asynccontextmanager
async def running(api: Api, settings: Settings, router: str, dead_letters: DeadLetterStore) -> AsyncIterator[Engine]:
    """Open the spool, as soon as JetStream answers, and close it at the end.

    Raises:
        SpoolUnusable: the stream cannot serve as a spool.
    """
    prepared = await patiently(lambda: prepare(api, Names(settings.stream), settings))
    failed: Exception | None = None
    async with asyncio.TaskGroup() as group:
        engine = Engine(api, settings, router, prepared, dead_letters=dead_letters, group=group)
        await patiently(engine.start)
        try:
            yield engine
        except Exception as error:  # noqa: BLE001  (raised below: the group would wrap it)
            failed = error
        finally:
            await engine.stop()
    if failed is not None:
        raise failed
