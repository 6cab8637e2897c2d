"""Leases: the right to drain one shard of a sink, held by one living router at a time.

A claim names the run of a router that holds a shard. It is taken by compare-and-set: where there is none, where its router is
silent or has begun a new run, or where it is this router's own. What a claim protects is fenced by the position itself: a taker
writes the position before it drains, and from then on every write of an earlier holder is refused. So a router that was stopped
for longer than its lease can repeat a delivery, and can settle nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Final, Protocol

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter_nats.spool.assignment import assigned
from edgerouter_nats.spool.claims import KEY, Claims
from edgerouter_nats.spool.membership import KEY as MEMBER
from edgerouter_nats.spool.membership import Membership
from edgerouter_nats.spool.names import Names, sink_of
from edgerouter_nats.spool.state import State
from edgerouter_nats.spool.trouble import Trouble

_SHORTEST: Final = 0.2
_LONGEST: Final = 2.0
"""Bounds of the time between two looks at the leases, in seconds."""

log = structlog.get_logger("edgerouter.spool")


class Holder(Protocol):
    """Drains what is leased."""

    async def take(self, ledger: str, token: int) -> bool:
        """Begin to drain a shard; false where its position was refused."""

    async def release(self, ledger: str) -> None:
        """Finish what is in flight, write what is settled, and drain the shard no more."""

    def drop(self, ledger: str) -> None:
        """Drain the shard no more, at once."""

    def renewed(self) -> None:
        """The lease is valid for a while."""


class Leases:
    """Takes, renews and hands over what this router drains.

    Args:
        state: shared by the routers.
        names: of its keys.
        membership: of this router and the others.
        router: name of this one.
        lease: seconds of silence after which a router counts as gone.
        shards: of each sink.
        holder: drains what is leased.
    """

    def __init__(
        self, state: State, names: Names, membership: Membership, *, router: str, lease: float, shards: int, holder: Holder
    ) -> None:
        self._state = state
        self._membership = membership
        self._router = router
        self._shards = shards
        self._holder = holder
        self._pause = min(_LONGEST, max(_SHORTEST, lease / 6))
        self._renew_every = lease / 3
        self._renewed = 0.0
        self._sinks: set[str] = set()
        self._revisions: dict[str, int] = {}
        self._taking: set[str] = set()
        self._releasing: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._looking = asyncio.Lock()
        self._renewing = asyncio.Lock()
        self._claims = Claims(state, names, router)
        self._trouble = Trouble("the lease cannot be renewed, trying again", "the lease is renewed again")
        self.troubles = (self._trouble, self._claims.trouble)
        self.lost = 0
        """Shards that this router drained and lost, instead of handing them over, since the start."""

    @property
    def held(self) -> tuple[str, ...]:
        """Ledgers that this router drains."""
        return tuple(sorted(self._revisions))

    @property
    def seconds(self) -> float:
        """Seconds until another router may take over, unless the lease is renewed; 0 once it is over."""
        return max(0.0, self._membership.until - time.monotonic())

    @property
    def routers(self) -> dict[str, tuple[str, ...]]:
        """The ledgers that each living router holds; of this one, those whose messages are in its numbers."""
        living: dict[str, list[str]] = {name: [] for name in sorted(self._membership.living)}
        for ledger, claim in sorted(self._claims.items()):
            counted = claim.router != self._router or (ledger in self._revisions and ledger not in self._taking)
            if counted and claim.router in living:
                living[claim.router].append(ledger)
        return {name: tuple(ledgers) for name, ledgers in living.items()}

    async def add(self, sink: str) -> None:
        """Drain a sink from now on, together with the other routers; returns after the first look at its leases."""
        self._sinks.add(sink)
        self._renewed = 0.0
        await self.look()

    async def remove(self, sink: str) -> None:
        """Drain a sink no more."""
        self._sinks.discard(sink)
        self._renewed = 0.0
        await self._release([ledger for ledger in self.held if sink_of(ledger) == sink])
        self._wake.set()

    def abandon(self, sink: str) -> list[str]:
        """Hold the shards of a sink no more, without giving them to another router; returns their ledgers."""
        self._sinks.discard(sink)
        ledgers = [ledger for ledger in self._revisions if sink_of(ledger) == sink]
        for ledger in ledgers:
            del self._revisions[ledger]
        return ledgers

    def fenced(self, ledger: str) -> None:
        """The position was refused: another router has taken it."""
        if self._revisions.pop(ledger, None) is not None:
            self.lost += 1
            log.warning("another router has taken over", sink=ledger)
        self._holder.drop(ledger)
        self._wake.set()

    async def run(self) -> None:
        """Renew, take and hand over until cancelled."""
        loop = asyncio.get_running_loop()
        watch = loop.create_task(self._watch(), name="spool-lease-watch")
        # taking shards may last longer than the lease
        keep = loop.create_task(self._keep(), name="spool-lease-renewal")
        try:
            while True:
                await self.look()
                try:
                    async with asyncio.timeout(self._pause):
                        await self._wake.wait()
                except TimeoutError:
                    pass
                self._wake.clear()
        finally:
            watch.cancel()
            keep.cancel()

    async def close(self) -> None:
        """Hand over everything, and leave."""
        self._sinks.clear()
        await self._release(self.held)
        try:
            await self._membership.leave()
        except (Unavailable, SpoolError) as error:
            log.debug("the other routers are not told that this one leaves", reason=str(error))

    async def look(self) -> None:
        """Renew where it is time, look at the leases, and take or hand over what changed."""
        async with self._looking:
            await self._look()

    async def _look(self) -> None:
        try:
            await self._renew()
            found = await self._state.all(MEMBER, KEY)
        except (Unavailable, SpoolError) as error:
            self._trouble.failed(error)
            return
        self._trouble.end()
        self._membership.observe(found)
        self._claims.read(found)
        await self._balance()

    async def others(self, sink: str) -> list[str]:
        """Return the other living routers that could drain a sink.

        Raises:
            Unavailable: nothing answered in time.
        """
        self._membership.observe(await self._state.all(MEMBER))
        return [name for name, member in self._membership.living.items() if sink in member.sinks and name != self._router]

    async def elsewhere(self, sinks: Iterable[str]) -> list[str]:
        """Return those of the sinks that another living router has.

        Raises:
            Unavailable: nothing answered in time.
        """
        return [sink for sink in list(sinks) if await self.others(sink)]

    async def _keep(self) -> None:
        while True:
            # the next look finds out why it could not be
            with suppress(Unavailable, SpoolError):
                await self._renew()
            await asyncio.sleep(self._pause / 2)

    async def _renew(self) -> None:
        async with self._renewing:
            await self._renew_once()

    async def _renew_once(self) -> None:
        if not self._sinks and not self._membership.until:
            return  # a command, or a router whose sinks are still to come
        now = time.monotonic()
        if now - self._renewed < self._renew_every and self._membership.valid:
            return
        if not self._membership.valid:
            self._lose_all("this router was silent for longer than its lease")
        if await self._membership.renew(self._sinks, self._shards):
            self._renewed = now
            self._holder.renewed()
            return
        self._lose_all("another router of the same name runs: name each in `spool.router`")

    async def _watch(self) -> None:
        """Stop draining once the lease is over, also while a renewal waits for its answer."""
        while True:
            left = self._membership.until - time.monotonic()
            if left <= 0 and self._revisions:
                self._lose_all("the lease could not be renewed in time")
            await asyncio.sleep(max(0.02, min(left, self._pause)))

    def _lose_all(self, reason: str) -> None:
        if not self._revisions:
            return
        log.warning("leases lost", reason=reason, shards=len(self._revisions))
        lost, self._revisions = list(self._revisions), {}
        self.lost += len(lost)
        for ledger in lost:
            self._holder.drop(ledger)

    async def _balance(self) -> None:
        # this router's sign of life may be older than its sinks
        others = {name: member.sinks for name, member in self._membership.living.items() if name != self._router}
        living = {name: sinks for name, sinks in {**others, self._router: tuple(self._sinks)}.items() if sinks}
        wanted = assigned(living, self._shards)
        surplus = [ledger for ledger in self._revisions if wanted.get(ledger, self._router) != self._router]
        for ledger in surplus:
            self._hand_over(ledger)
        await self._free_lost(wanted)
        await asyncio.gather(
            *(self._take(ledger) for ledger, router in wanted.items() if router == self._router and self._may_take(ledger))
        )

    async def _free_lost(self, wanted: Mapping[str, str]) -> None:
        """Free the claims of shards that this run has lost and another router is to drain, which waits for that."""
        for ledger in self._claims.of(self._membership.session):
            if ledger not in self._revisions and ledger not in self._releasing and wanted.get(ledger) != self._router:
                await self._claims.free(ledger)

    def _may_take(self, ledger: str) -> bool:
        if ledger in self._revisions or ledger in self._releasing:
            return False
        claim = self._claims[ledger]
        if not claim.session or claim.router == self._router:
            return True
        member = self._membership.living.get(claim.router)
        return member is None or member.session != claim.session

    async def _take(self, ledger: str) -> None:
        token = await self._claims.take(ledger, self._membership.session)
        if not token or not self._membership.valid:
            return
        self._revisions[ledger] = token
        self._taking.add(ledger)
        try:
            if not await self._holder.take(ledger, token):
                self._revisions.pop(ledger, None)
        finally:
            self._taking.discard(ledger)

    def _hand_over(self, ledger: str) -> None:
        if ledger not in self._releasing:
            task = asyncio.get_running_loop().create_task(self._release_one(ledger), name=f"spool-release-{ledger}")
            self._releasing[ledger] = task
            task.add_done_callback(lambda _: self._releasing.pop(ledger, None))

    async def _release(self, ledgers: Iterable[str]) -> None:
        for ledger in ledgers:
            self._hand_over(ledger)
        if self._releasing:
            await asyncio.wait(self._releasing.values())

    async def _release_one(self, ledger: str) -> None:
        await self._holder.release(ledger)
        revision = self._revisions.pop(ledger, None)
        if revision is None:
            return
        await self._claims.free(ledger, revision)
        log.info("handed over", sink=ledger)
