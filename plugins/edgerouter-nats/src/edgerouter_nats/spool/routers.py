"""Records of the routers in the shared state: the sinks of each, and how much of the stream it still needs for its receipts."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable
from typing import Final

import msgspec

from edgerouter import Unavailable
from edgerouter_nats.spool.api import Stored
from edgerouter_nats.spool.names import Names, unescape
from edgerouter_nats.spool.state import Stale, State

KEY: Final = "router"
_EVERY: Final = 30.0
"""Seconds after which a record that has not changed is written again."""
ABSENT_AFTER: Final = 3600.0
"""Seconds after which a router that says nothing keeps nothing of the stream; its clock may be wrong by minutes."""


class RouterRecord(msgspec.Struct, frozen=True, array_like=True):
    """A router, as it said last."""

    sinks: tuple[str, ...] = ()
    keep_from: int = 0
    """Stream sequence from which on it may need receipts after a crash: a lower bound, also when it is old; 0 = it needs none."""
    appended: int = 0
    """Messages that it has stored, over all its runs."""
    dropped: int = 0
    """Messages that had no room, over all its runs."""
    at: float = 0.0
    """Time of writing, seconds since 1970."""
    run: str = ""
    """Names the process that wrote it."""

    @property
    def present(self) -> bool:
        """True unless it has been silent for long."""
        return time.time() - self.at < ABSENT_AFTER


def decode(data: bytes) -> RouterRecord:
    """Read a record; one that cannot be read says nothing."""
    try:
        return msgspec.msgpack.decode(data, type=RouterRecord)
    except msgspec.MsgspecError:
        return RouterRecord()


def records(found: Iterable[Stored]) -> dict[str, RouterRecord]:
    """Return the records among keys of the state, by the name of the router."""
    prefix = f"{KEY}."
    return {unescape(each.subject.removeprefix(prefix)): decode(each.data) for each in found if each.subject.startswith(prefix)}


class Announcement:
    """The record of this router.

    Args:
        state: shared by the routers.
        names: of its keys.
        router: name of this router.
        content: makes the record from what earlier runs have counted.
    """

    def __init__(self, state: State, names: Names, router: str, content: Callable[[RouterRecord], RouterRecord]) -> None:
        self._state = state
        self._key = names.router_key(router)
        self._content = content
        self._earlier = RouterRecord()
        self._written = RouterRecord()
        self._revision = 0
        self.run = secrets.token_hex(8)
        """Names this process among those of the router."""

    async def begin(self, keep_from: int) -> tuple[RouterRecord, int]:
        """Begin a run; returns what the run before has said, and a number that no earlier run had.

        Args:
            keep_from: least stream sequence that this run can store; a run that dies before it says more needs what it stores.
        """
        while True:
            found = await self._state.read(self._key)
            self._earlier = decode(found[0]) if found is not None else RouterRecord()
            begun = msgspec.structs.replace(
                self._earlier, keep_from=self._earlier.keep_from or keep_from, at=time.time(), run=self.run
            )
            try:
                self._revision = await self._state.write(self._key, msgspec.msgpack.encode(begun), found[1] if found else 0)
            except Stale:
                continue
            self._written = begun
            return self._earlier, self._revision

    async def write(self) -> None:
        """Write the record if it has changed, or is old.

        Raises:
            Unavailable: it cannot be written just now, or another process of the router has begun.
        """
        record = msgspec.structs.replace(self._content(self._earlier), run=self.run)
        same = msgspec.structs.replace(record, at=self._written.at) == self._written
        if same and time.time() - self._written.at < _EVERY:
            return
        try:
            self._revision = await self._state.write(self._key, msgspec.msgpack.encode(record), self._revision)
        except Stale:
            await self.check()
            return
        self._written = record

    async def check(self) -> None:
        """Find out that this process is the newest of the router.

        Raises:
            Unavailable: it is not, or nothing answers.
        """
        found = await self._state.read(self._key)
        if found is not None and decode(found[0]).run != self.run:
            raise Unavailable("another router was started with the name of this one: give each router another name")
        # what this process has written without an answer, or what an operator has deleted
        self._revision = found[1] if found is not None else 0
