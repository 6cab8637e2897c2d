"""The routers that share a spool: each gives a sign of life, and a silent one counts as gone.

No two clocks are compared. A router renews its own key and measures from the moment of asking; the others measure from the moment
when they first see the key unchanged, which is later. So a router knows that it is late before the others take over.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from edgerouter_nats.spool.api import Stored
from edgerouter_nats.spool.names import escape, unescape
from edgerouter_nats.spool.state import Stale, State

KEY: Final = "member"


class Member(msgspec.Struct, frozen=True, array_like=True):
    """A router, as it said last."""

    session: str
    """Names one run of it."""
    sinks: tuple[str, ...]
    """Sinks that it could drain."""
    shards: int
    lease: float
    """Seconds of silence after which it counts as gone."""


class Seen:
    """Times at which each key was first seen with its present revision, by this process's monotonic clock."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._seen: dict[str, tuple[int, float]] = {}

    def silence(self, key: str, revision: int) -> float:
        """Return the seconds since this revision was first seen."""
        before = self._seen.get(key)
        if before is None or before[0] != revision:
            self._seen[key] = (revision, self._clock())
            return 0.0
        return self._clock() - before[1]

    def keep(self, keys: Iterable[str]) -> None:
        """Forget all other keys."""
        kept = set(keys)
        self._seen = {key: seen for key, seen in self._seen.items() if key in kept}


class Membership:
    """The sign of life of this router, and those of the others.

    Args:
        state: shared by the routers.
        router: name of this one.
        lease: seconds of silence after which a router counts as gone.
        clock: monotonic, in seconds.
    """

    def __init__(self, state: State, router: str, lease: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._state = state
        self._key = f"{KEY}.{escape(router)}"
        self._router = router
        self._lease = lease
        self._clock = clock
        self._revision = 0
        self._seen = Seen(clock)
        self.session = secrets.token_hex(8)
        """Names this run."""
        self.until = 0.0
        """The other routers do not take over before this time of the monotonic clock."""
        self.living: dict[str, Member] = {}
        """Routers that are not silent, this one included, by name."""

    @property
    def valid(self) -> bool:
        """True while no other router may take over."""
        return self._clock() < self.until

    async def renew(self, sinks: Iterable[str], shards: int) -> bool:
        """Give a sign of life; false where another process of this name has given one, so that nothing is held any more.

        Raises:
            Unavailable: nothing answered in time.
        """
        asked = self._clock()
        sign = msgspec.msgpack.encode(Member(self.session, tuple(sorted(sinks)), shards, self._lease))
        try:
            self._revision = await self._state.write(self._key, sign, self._revision)
        except Stale:
            found = await self._state.read(self._key)
            mine = found is None or _decode(found[0]).session == self.session
            self._revision = found[1] if found is not None else 0
            # an answer that was lost leaves the key as this process has written it
            if not mine and self.until:
                self.until = 0.0
                self.session = secrets.token_hex(8)
                return False
            self._revision = await self._state.write(self._key, sign, self._revision)
        # a tenth for clocks that run at different rates, and for a write that is on its way
        self.until = asked + self._lease * 0.9
        return True

    def observe(self, found: Iterable[Stored]) -> None:
        """Note who lives, from the keys as they were just read."""
        living: dict[str, Member] = {}
        keys = []
        for each in found:
            if not each.subject.startswith(f"{KEY}."):
                continue
            keys.append(each.subject)
            member = _decode(each.data)
            name = unescape(each.subject.removeprefix(f"{KEY}."))
            silence = self._seen.silence(each.subject, each.sequence)
            if member.session and (name == self._router or silence < member.lease):
                living[name] = member
        self._seen.keep(keys)
        self.living = living

    async def leave(self) -> None:
        """Say that this router holds nothing any more.

        Raises:
            Unavailable: nothing answered in time.
        """
        self.until = 0.0
        await self._state.delete(self._key)


def _decode(data: bytes) -> Member:
    """Read a sign of life; one that cannot be read is none."""
    try:
        return msgspec.msgpack.decode(data, type=Member)
    except msgspec.MsgspecError:
        return Member("", (), 0, 0.0)
