"""Draining by turns: a router takes the shards that it has leased, and gives up those that it has not."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Final, Protocol
from zlib import crc32

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.spool.contract import Reader, Route
from edgerouter.spool.log.ledger import SinkLedger
from edgerouter.templates import parse, topic_text
from edgerouter.topic_cache import TopicCache, key_weight
from edgerouter.topics import Matcher
from edgerouter_nats.spool.assignment import ledger_name
from edgerouter_nats.spool.lease import Leases
from edgerouter_nats.spool.membership import Membership
from edgerouter_nats.spool.names import Names, sink_of
from edgerouter_nats.spool.positions import Fenced
from edgerouter_nats.spool.shards import HAND_OVER_SECONDS, SinkShards
from edgerouter_nats.spool.state import State
from edgerouter_nats.spool.stream import patiently

_TAKING_SECONDS: Final = 10.0
"""Time for taking a shard: what its holder had seen is waited for."""
_CACHED: Final = 1024 * 1024
"""Bytes of topics whose shard is remembered."""

log = structlog.get_logger("edgerouter.spool")


class Shared(Protocol):
    """The part of the spool that holds positions."""

    async def create_position(self, route: Route) -> None:
        """Make the position of a shard, unless it has one."""

    async def take_shard(self, route: Route, token: int) -> Reader:
        """Take the position of a shard; raises `Fenced` where another router took it at the same time."""

    async def release_shard(self, ledger_name: str) -> None:
        """Write what is settled and hold the position no more."""

    def drop_shard(self, ledger_name: str) -> None:
        """Hold the position no more, and write nothing."""

    async def shard_records(self) -> Mapping[str, SinkLedger]:
        """Return the ledgers of all positions, as they are stored."""

    def when_fenced(self, call: Callable[[str], None]) -> None:
        """Have `call` called with the name of a ledger whose position another router has taken."""


class Sharding:
    """Assigns topics to shards.

    Args:
        shards: of each sink.
        key: template of the topic's part that decides.
    """

    def __init__(self, shards: int, key: str) -> None:
        self.shards = shards
        parts = [part if isinstance(part, str) else topic_text(part) for part in parse(key, ("topic",))]

        def shard(topic: str) -> int:
            text = "".join([part if isinstance(part, str) else part(topic) for part in parts])
            return crc32(text.encode(errors="replace")) % shards

        self._known: TopicCache[str, int] = TopicCache(shard, most_bytes=_CACHED, weigh=key_weight)

    def of(self, topic: str) -> int:
        """Return the shard of a topic."""
        return self._known[topic] if self.shards > 1 else 0

    def route(self, route: Route, shard: int) -> Route:
        """Return the route of one shard of a sink."""
        matches = route.matches

        def mine(topic: str) -> bool:
            return matches(topic) and self.of(topic) == shard

        name = ledger_name(route.sink, shard, self.shards)
        wanted = matches if self.shards == 1 else mine
        return Route(name, route.filters, wanted, route.start, drain=route.drain, backlog_share=route.backlog_share)


class Sharing:
    """The sinks of this router, each drained as far as its shards are leased.

    Args:
        spool: holds the positions.
        sharding: assigns topics to shards.
        leases: makes the leases, given their holder.
        lease: seconds that taking a shard may last.
    """

    def __init__(self, spool: Shared, sharding: Sharding, state: State, names: Names, *, router: str, lease: float) -> None:
        self._spool = spool
        self._sharding = sharding
        self._lease = lease
        self._routes: dict[str, Route] = {}
        self._sinks: dict[str, SinkShards] = {}
        self._patience = HAND_OVER_SECONDS
        self._membership = Membership(state, router, lease)
        self.leases = Leases(state, names, self._membership, router=router, lease=lease, shards=sharding.shards, holder=self)
        spool.when_fenced(self.leases.fenced)

    async def attach(self, route: Route) -> Reader:
        """Drain a sink from now on; returns its reader, after the first look at who drains it."""
        sharding = self._sharding
        await self._leave_off(route.sink)
        names = [ledger_name(route.sink, shard, sharding.shards) for shard in range(sharding.shards)]
        shards = self._sinks[route.sink] = SinkShards(names, sharding.of, self._valid)
        for shard, name in enumerate(names):
            part = self._routes[name] = sharding.route(route, shard)
            await patiently(lambda part=part: self._spool.create_position(part))  # type: ignore[misc]
        await self.leases.add(route.sink)
        return shards

    async def detach(self, sink: str) -> None:
        """Drain a sink no more; the other routers go on."""
        await self.leases.remove(sink)
        self._sinks.pop(sink, None)

    def abandon(self, sink: str) -> None:
        """Drain a sink no more that no other router has; its position stays as it is."""
        self.leases.abandon(sink)
        self._sinks.pop(sink, None)

    async def hand_over(self) -> None:
        """Leave to the other routers the sinks that they have, once what is in flight is settled."""
        try:
            await asyncio.gather(*[self.leases.remove(sink) for sink in await self.leases.elsewhere(self._sinks)])
        except (Unavailable, SpoolError) as error:
            log.warning("shards are not handed over, and their leases end by themselves", reason=str(error))

    async def others(self, sink: str) -> Sequence[str]:
        """Return the other routers that run and have a sink."""
        return await self.leases.others(sink)

    async def _leave_off(self, sink: str) -> None:
        """Write what an earlier reader of the sink has settled, and take its shards anew."""
        for ledger in self.leases.abandon(sink):
            await self._spool.release_shard(ledger)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Renew leases while open; hand everything over at the end."""
        task = asyncio.get_running_loop().create_task(self.leases.run(), name="spool-leases")
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])
            self._patience = 0.0
            await self.leases.close()

    async def acquire(self, sink: str) -> None:
        """Hold a sink for a command, once no other router is there that has it.

        Raises:
            SpoolError: one is.
        """
        deadline = time.monotonic() + self._lease + 1.0
        while others := await self.leases.others(sink):
            if time.monotonic() > deadline:
                raise SpoolError(f"the sink {sink!r} is drained by {', '.join(others)}, where this command has to run")
            await asyncio.sleep(0.2)
        record = next(ledger for name, ledger in (await self._spool.shard_records()).items() if sink_of(name) == sink)
        await self.attach(Route(sink, record.filters, Matcher(record.filters)))

    # -- what the leases ask ----------------------------------------------------------------------------------------------------

    async def take(self, ledger: str, token: int) -> bool:
        shards = self._sinks.get(sink_of(ledger))
        if shards is None:
            return False
        try:
            async with asyncio.timeout(max(_TAKING_SECONDS, self._lease)):
                reader = await self._spool.take_shard(self._routes[ledger], token)
        except (Fenced, TimeoutError, Unavailable, SpoolError) as error:
            log.debug("a position is not taken", sink=ledger, reason=str(error))
            self._spool.drop_shard(ledger)
            return False
        if not self._valid():
            self._spool.drop_shard(ledger)
            return False
        shards.add(ledger, reader)
        return True

    async def release(self, ledger: str) -> None:
        shards = self._sinks.get(sink_of(ledger))
        if shards is not None:
            await shards.finish(ledger, self._patience)
            shards.remove(ledger)
        await self._spool.release_shard(ledger)

    def drop(self, ledger: str) -> None:
        shards = self._sinks.get(sink_of(ledger))
        if shards is not None:
            shards.remove(ledger)
        self._spool.drop_shard(ledger)

    def renewed(self) -> None:
        for shards in self._sinks.values():
            shards.renewed()

    def _valid(self) -> bool:
        return self._membership.valid
