"""Claims of shards in the shared state: each names the run of the router that holds a shard, and is taken by compare-and-set."""

from __future__ import annotations

from collections.abc import ItemsView, Iterable
from typing import Final

import msgspec
import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter_nats.spool.api import Stored
from edgerouter_nats.spool.names import Names, unescape
from edgerouter_nats.spool.state import Stale, State
from edgerouter_nats.spool.trouble import Trouble

KEY: Final = "lease"

log = structlog.get_logger("edgerouter.spool")


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """The holder of a shard."""

    router: str = ""
    session: str = ""
    """Names the run of the router."""


class Claims:
    """The claims of all routers, as they were read last.

    Args:
        state: shared by the routers.
        names: of its keys.
        router: name of this one.
    """

    def __init__(self, state: State, names: Names, router: str) -> None:
        self._state = state
        self._names = names
        self._router = router
        self._stored: dict[str, int] = {}
        self._claims: dict[str, Claim] = {}
        self.trouble = Trouble("leases cannot be taken, trying again", "leases are taken again")

    def __getitem__(self, ledger: str) -> Claim:
        return self._claims.get(ledger, Claim())

    def items(self) -> ItemsView[str, Claim]:
        """Return each ledger that was ever claimed, and its claim."""
        return self._claims.items()

    def of(self, session: str) -> list[str]:
        """Return the ledgers that this run of this router claims."""
        mine = Claim(self._router, session)
        return [ledger for ledger, claim in self._claims.items() if claim == mine]

    def read(self, found: Iterable[Stored]) -> None:
        """Take over what stands in the shared state now."""
        claims = {unescape(e.subject.removeprefix(f"{KEY}.")): e for e in found if e.subject.startswith(f"{KEY}.")}
        self._claims = {ledger: _decode(each.data) for ledger, each in claims.items()}
        self._stored = {ledger: each.sequence for ledger, each in claims.items()}

    async def take(self, ledger: str, session: str) -> int:
        """Claim a shard that is as it was read; returns the token of the claim, 0 = it is not taken."""
        claim = Claim(self._router, session)
        try:
            token = await self._state.write(
                self._names.lease_key(ledger), msgspec.msgpack.encode(claim), self._stored.get(ledger, 0)
            )
        except Stale:
            return 0  # another router was faster, or the answer of an earlier attempt was lost: the next look shows which
        except (Unavailable, SpoolError) as error:
            self.trouble.failed(error)
            return 0
        self.trouble.end()
        self._claims[ledger] = claim
        return token

    async def free(self, ledger: str, revision: int | None = None) -> None:
        """Give a shard back.

        Args:
            ledger: of the shard.
            revision: of the claim; that which was read last by default.
        """
        revision = self._stored.get(ledger, 0) if revision is None else revision
        try:
            await self._state.write(self._names.lease_key(ledger), msgspec.msgpack.encode(Claim()), revision)
        except (Stale, Unavailable, SpoolError) as error:
            log.debug("a lease is not given back, and ends by itself", sink=ledger, reason=str(error))


def _decode(data: bytes) -> Claim:
    """Read a claim; one that cannot be read holds nothing."""
    try:
        return msgspec.msgpack.decode(data, type=Claim)
    except msgspec.MsgspecError:
        return Claim()
