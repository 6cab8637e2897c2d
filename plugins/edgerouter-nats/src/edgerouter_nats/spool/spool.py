"""The spool of several routers: one log in a JetStream stream, positions and ledgers in a key-value bucket beside it."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from typing import Final, Protocol

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.spool.contract import Reader, Route
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.grouping import Append, payload_bytes
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.reader import LogReader
from edgerouter.spool.operator import SpoolTools
from edgerouter.spool.status import Ledger, SpoolStatus
from edgerouter_nats.spool.engine import Engine
from edgerouter_nats.spool.names import key_of, sink_of
from edgerouter_nats.spool.overview import Overview
from edgerouter_nats.spool.positions import Fenced
from edgerouter_nats.spool.sequences import first_of
from edgerouter_nats.spool.settings import Settings
from edgerouter_nats.spool.trimming import read_shared

_RETRY: Final = 0.5

log = structlog.get_logger("edgerouter.spool")


class Sharer(Protocol):
    """Decides what this router drains."""

    async def attach(self, route: Route) -> Reader:
        """Drain a sink from now on, as far as it is this router's turn."""

    async def detach(self, sink: str) -> None:
        """Leave a sink to the other routers."""

    def abandon(self, sink: str) -> None:
        """Drain a sink no more that no other router has; its position stays as it is."""

    async def hand_over(self) -> None:
        """Leave to the other routers the sinks that they have."""

    async def others(self, sink: str) -> Sequence[str]:
        """Return the other routers that run and have a sink."""


class JetStreamSpool:
    """The spool as the pipeline sees it.

    Args:
        engine: its parts.
        settings: of the spool.
        tools: makes the part that operators use.
    """

    def __init__(self, engine: Engine, settings: Settings, tools: Callable[[JetStreamSpool], SpoolTools]) -> None:
        self.id = engine.id
        self.engine = engine
        self._overview = Overview(engine, settings)
        self._tools = tools(self)
        self.sharer: Sharer | None = None
        """Without one, this router drains every sink that it has."""
        self.acquire: Callable[[str], Awaitable[None]] | None = None
        """Takes a sink for a command, where no router drains it."""

    # -- what the contract names ------------------------------------------------------------------------------------------------

    @property
    def status(self) -> SpoolStatus:
        return self._overview.status

    @property
    def ledgers(self) -> Mapping[str, Ledger]:
        return self._overview.ledgers

    @property
    def faults(self) -> Mapping[str, str]:
        return {sink_of(name): fault for name, fault in self.engine.ledgers.faults.items()}

    @property
    def drops(self) -> Mapping[tuple[str, str, str], int]:
        return self.engine.ledgers.drops

    @property
    def tools(self) -> SpoolTools:
        return self._tools

    def count_dropped(self, topic: str, messages: int, reason: str) -> None:
        self.engine.ledgers.drops.count("", Counter({topic: messages}), reason)

    async def append(self, source: str, delivery: Delivery, wanted: Mapping[str, int]) -> None:
        if not delivery.messages:
            delivery.acknowledge()
            return
        routing = self.engine.routing
        size = payload_bytes(delivery.messages)
        stored = asyncio.get_running_loop().create_future()
        await self.engine.appender.append(Append(source, delivery, routing.keys(wanted), size, routing.version, stored))

    def unacknowledged(self, source: str) -> Sequence[Delivery]:
        return self.engine.receipts.of(source)

    async def attach(self, route: Route) -> Reader:
        self.engine.routing.add(route)
        return await (self.take_shard(route, 0) if self.sharer is None else self.sharer.attach(route))

    async def detach(self, sink: str) -> None:
        engine = self.engine
        engine.routing.remove(sink)
        await self._announce()
        await engine.trimming.refresh()
        elsewhere = any(sink in record.sinks for name, record in engine.trimming.shared.routers.items() if name != engine.router)
        if self.sharer is not None:
            if elsewhere:
                await self.sharer.detach(sink)
            else:
                self.sharer.abandon(sink)
        for ledger in self._held(sink):
            if elsewhere:
                await self.release_shard(ledger.name)
            else:
                engine.ledgers.detach(ledger.name, engine.tail.end)
        await self.flush()

    async def forget(self, sink: str) -> None:
        engine = self.engine
        if sink in engine.routing:
            raise SpoolError(f"the sink {sink!r} is in the configuration")
        await engine.trimming.refresh()
        if having := await self.sharer.others(sink) if self.sharer is not None else ():
            raise SpoolError(f"the sink {sink!r} is in the configuration of {', '.join(having)}")
        held = {ledger.name: ledger for ledger in self._held(sink)}
        stored = {name: ledger for name, ledger in engine.trimming.shared.ledgers.items() if sink_of(name) == sink}
        if not held and not stored and sink not in engine.trimming.shared.damaged:
            raise SpoolError(f"the spool holds nothing for a sink {sink!r}")
        for name in {*held, *stored, *(name for name in engine.trimming.shared.damaged if sink_of(name) == sink)}:
            engine.holding.drop(name)
            await engine.positions.delete(name)
        log.info("sink forgotten", sink=sink, pending=sum(ledger.pending for ledger in {**stored, **held}.values()))
        await engine.trimming.refresh()
        engine.trimming.touch()

    async def flush(self) -> None:
        await self.engine.positions.flush()

    async def hand_over(self) -> None:
        if self.sharer is not None:
            await self.sharer.hand_over()

    async def beat(self) -> None:
        """Nothing: no thread stands behind the spool, and a server that is away is not cured by a restart."""

    async def close(self) -> None:
        """Nothing: the engine writes what is settled when it stops."""

    @property
    def overview(self) -> Overview:
        """The numbers for status, which the leases and the dead letters complete."""
        return self._overview

    # -- positions --------------------------------------------------------------------------------------------------------------

    @property
    def held(self) -> Ledgers:
        """The ledgers of the positions that this router holds."""
        return self.engine.ledgers

    def when_fenced(self, call: Callable[[str], None]) -> None:
        """Have `call` called with the name of a ledger whose position another router has taken."""

        def fenced(name: str) -> None:
            self.drop_shard(name)
            call(name)

        self.engine.positions.on_fenced = fenced

    async def create_position(self, route: Route) -> None:
        """Make the position of a sink, or of a shard, unless it has one."""
        if await self.engine.positions.read(route.sink) is None:
            await self.engine.holding.create(route)

    async def take_shard(self, route: Route, token: int) -> LogReader:
        """Take the position of a sink, or of a shard of it, which `route` names.

        Raises:
            Fenced: another router took it at the same time.
        """
        while True:
            try:
                return await self.engine.holding.take(route, token)
            except Unavailable as error:
                log.debug("a position cannot be taken, trying again", sink=route.sink, reason=str(error))
            except Fenced:
                if token:
                    raise
            await asyncio.sleep(_RETRY)

    async def release_shard(self, ledger_name: str) -> None:
        """Write what is settled and hold the position no more."""
        await self.engine.holding.release(ledger_name)

    def drop_shard(self, ledger_name: str) -> None:
        """Hold the position no more, and write nothing."""
        self.engine.holding.drop(ledger_name)

    # -- what tools ask ---------------------------------------------------------------------------------------------------------

    @property
    def end(self) -> int:
        """The sequence after the last one that was seen."""
        return self.engine.tail.end

    @property
    def damaged(self) -> Mapping[int, str]:
        """Why a chunk cannot be read, by its stream sequence."""
        return self.engine.chunks.damaged

    def touch(self) -> None:
        """Write the positions soon: a ledger has changed."""
        self.engine.positions.touch()

    async def counted(self, ledger: SinkLedger) -> None:
        """Return when everything that waits is counted."""
        await self.engine.counting.begin(ledger, whole=True)

    def chunks(self, first: int, end: int) -> AsyncIterator[Chunk]:
        """Yield the chunks that hold messages of `[first, end)`, as far as they are still stored."""
        return self.engine.chunks.between(first, end)

    async def oldest(self) -> int:
        """Return the sequence at which the log begins."""
        return first_of(await self.engine.chunks.first())

    async def replayed(self, ledger_name: str, messages: Sequence[Message]) -> None:
        """Append messages for one ledger only, which were its dead letters."""
        key = key_of(ledger_name)
        stored = asyncio.get_running_loop().create_future()
        delivery = Delivery(messages, _nothing)
        append = Append("", delivery, {key: len(messages)}, payload_bytes(messages), self.engine.routing.version, stored, key)
        await self.engine.appender.append(append)

    async def shard_records(self) -> dict[str, SinkLedger]:
        """Return the ledgers of all positions, as they are stored."""
        return (await read_shared(self.engine.state)).ledgers

    def _held(self, sink: str) -> list[SinkLedger]:
        return [ledger for ledger in self.engine.ledgers if sink_of(ledger.name) == sink]

    async def _announce(self) -> None:
        try:
            await self.engine.announcement.write()
        except (Unavailable, SpoolError) as error:
            log.debug("the router's record is not written", reason=str(error))


def _nothing() -> None:
    """Acknowledge to no one: there is no sender."""
