"""Write chunks to the subject of this router: once each, in order, and none after another process has taken the subject over.

The chunks of one delivery are written together, all of them or none: its receipt stands with the last, so that a process that is
killed between them would leave messages which no successor recognises.

Each write names the message that the subject ended with before. So a repeat after a lost answer is stored once, however late it
comes, and what a process has on its way is refused as soon as another one has written. A process that starts writes a mark first, a
chunk without messages: from then on what the subject holds of the process before is final, and its receipts say all of it.

No chunk names an empty subject. Trimming could empty it again, and a chunk that was delayed for so long would then be stored behind
the mark that was to keep it out. A mark is written instead, and the chunk names that; a mark that comes late does no harm. Between
the two the router's record is read: it still names this process, so one that begins from now on finds the mark.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Final, Protocol

import structlog

from edgerouter import Unavailable
from edgerouter.spool.log.chunk import Chunk
from edgerouter.tasks.backoff import full_jitter
from edgerouter_nats.spool.api import (
    EXPECTED_LAST,
    FULL,
    MESSAGE_ID,
    NO_ROOM,
    NOT_TOGETHER,
    REPEATED,
    WRONG_LAST,
    Api,
    ApiError,
    StreamState,
)
from edgerouter_nats.spool.names import Names, escape
from edgerouter_nats.spool.sealing import HEADERS
from edgerouter_nats.spool.stored import Sealed
from edgerouter_nats.spool.trouble import Trouble

_FIRST_DELAY: Final = 0.05
_MAX_DELAY: Final = 2.0
_MOST_TOGETHER: Final = 1000
"""Messages of a batch (nats-server, ADR-50)."""

log = structlog.get_logger("edgerouter.spool")


class Room(Protocol):
    """Makes room in a full stream."""

    async def make(self, need: int, *, own: bool, may_drop: bool) -> bool:
        """Make room, or wait a while; False when a delivery is to be dropped instead."""


class Safety(Protocol):
    """Says why the stream must be given no message; an empty text where it may."""

    async def __call__(self, *, again: bool) -> str: ...


class Writer:
    """Writes to one subject.

    Args:
        api: of JetStream.
        names: of the stream.
        router: name of this router.
        incarnation: number of this process among those of the router; no earlier one had it.
        newest: a stream sequence that the stream has had.
        mark: a chunk without messages.
        stored: called with each stored chunk and its stream sequence, in order.
        newest_process: raises `Unavailable` where another process of this router has begun.
        stream: returns the stream, about a second old.
        room: makes room.
        safety: of what the stream acknowledges; `again` looks at it now.
    """

    def __init__(
        self,
        api: Api,
        names: Names,
        router: str,
        incarnation: int,
        *,
        newest: int,
        mark: Sealed,
        stored: Callable[[int, Sealed], Chunk],
        newest_process: Callable[[], Awaitable[None]],
        stream: Callable[[], StreamState],
        room: Room,
        safety: Safety,
    ) -> None:
        self._api = api
        self._names = names
        self._subject = names.subject(router)
        # a header holds neither the end of a line nor spaces at its ends
        self._name = f"{escape(router)}-{incarnation}"
        self._incarnation = incarnation
        self._mark = mark
        self._stored = stored
        self._newest_process = newest_process
        self._stream = stream
        self._room = room
        self._safety = safety
        self._number = 0
        self._one_by_one = False
        self._last = 0
        self.newest = newest
        """A stream sequence that the stream has had: the next chunk of this router comes behind it."""
        self.full = ""
        """Why a chunk waits for room; empty when none does."""
        self.trouble = Trouble("deliveries cannot be stored, trying again", "deliveries are stored again")
        self.written_bytes = 0

    async def begin(self, *, again: bool) -> int:
        """Take the subject over; returns the stream sequence up to which the process before has written, 0 = nothing.

        Args:
            again: a router of this name has run before. A new name has nothing on its way, and writes no mark.

        Raises:
            Unavailable: nothing answers.
        """
        while True:
            found = await self._api.last(self._names.stream, self._subject)
            self._last = found.sequence if found is not None else 0
            if (found is None and not again) or (found is not None and _incarnation(found.id) > self._incarnation):
                return self._last
            try:
                await self._write_mark()
            except ApiError as error:
                if error.code in WRONG_LAST:
                    continue  # something was still on its way, and is there now
                if error.code not in NO_ROOM:
                    raise Unavailable(str(error)) from None
                # a sink must be able to start, or there would never be room
                log.debug("there is no room for a mark", reason=str(error))
            return self._last

    async def write(self, parts: Sequence[Sealed], *, may_drop: bool) -> list[Chunk] | None:
        """Store the chunks of deliveries, however long that takes.

        Returns:
            What is stored: fewer than the parts where the next one is larger than the server takes by now, and is not stored later
            either; `None` when there is no room and the deliveries are to be dropped.
        """
        names = [self._next_name() for _ in parts]
        chunks: list[Chunk] = []
        attempt = 0
        while (at := len(chunks)) < len(parts):
            some = self._together(parts[at:])
            its_names = names[at : at + len(some)]
            try:
                fits = all(len(part.data) <= self._api.link.max_payload - HEADERS for part in some)
                sequence, count = await (self._attempt(some, its_names) if fits else self._withdraw(its_names))
                if not fits and not count:
                    return chunks
                if count:
                    self.trouble.end()
                    self.full = ""
                    chunks += [self._written(sequence - count + n, part) for n, part in enumerate(some[:count], 1)]
                    continue
            except ApiError as error:
                if error.code in NO_ROOM:
                    own = error.code == FULL
                    self.full = f"max_bytes: {error}" if own else f"the servers have no room: {error}"
                    need = sum(len(part.data) for part in some)
                    if not await self._room.make(need, own=own, may_drop=may_drop and not chunks):
                        self.full = ""
                        return None
                    continue
                self.trouble.failed(error)
            except Unavailable as error:
                self.trouble.failed(error)
            attempt += 1
            if self.trouble.reason:
                await asyncio.sleep(full_jitter(attempt, _FIRST_DELAY, _MAX_DELAY, floor=0.5))
        return chunks

    def _together(self, parts: Sequence[Sealed]) -> Sequence[Sealed]:
        """Return as many of the chunks as can be written together."""
        stream = self._stream()
        possible = stream.config.get("allow_atomic") and not self._one_by_one and len(parts) <= _MOST_TOGETHER
        # several that are larger than the stream get in as its sinks make room
        return parts if possible and sum(len(part.data) for part in parts) < stream.max_bytes else parts[:1]

    async def _attempt(self, parts: Sequence[Sealed], names: Sequence[str]) -> tuple[int, int]:
        """Return the stream sequence of the last stored chunk, and how many are; 0 where the subject did not end as expected."""
        await self._check()
        try:
            if not self._last or self._last < self._stream().first:
                # everything is settled and trimmed
                self._last = 0
                await self._write_mark()
            headers = [{MESSAGE_ID: name} for name in names]
            headers[0][EXPECTED_LAST] = str(self._last)
            messages = [(part.data, each) for part, each in zip(parts, headers, strict=True)]
            sequence = await self._api.publish_together(self._subject, messages)
            count = len(parts)
        except ApiError as error:
            if error.code in NOT_TOGETHER and len(parts) > 1:
                self._one_by_one = True
                log.warning("a kill may store parts of large deliveries twice: the stream takes no batches", reason=str(error))
            elif error.code not in REPEATED:
                raise
            sequence, count = await self._found(names)
        return (sequence, count) if self._follows(sequence) else (0, 0)

    async def _withdraw(self, names: Sequence[str]) -> tuple[int, int]:
        """Keep chunks that may be on their way out of the stream, by a mark; where they are there already, return as `_attempt`."""
        await self._check()
        while True:
            try:
                await self._write_mark()
            except ApiError as error:
                if error.code not in REPEATED:
                    raise
                sequence, count = await self._found(names)
                if count:
                    return sequence, count
            else:
                return 0, 0

    async def _check(self) -> None:
        """Refuse to store where the stream could lose it.

        Raises:
            Unavailable: it could, or nothing answers.
        """
        reason = await self._safety(again=bool(self.trouble.reason))
        if reason:
            raise Unavailable(reason)

    async def _write_mark(self) -> None:
        headers = {MESSAGE_ID: self._next_name(), EXPECTED_LAST: str(self._last)}
        sequence = await self._api.publish(self._subject, self._mark.data, headers)
        if not self._follows(sequence):
            raise Unavailable(self.trouble.reason)
        self._written(sequence, self._mark)
        await self._newest_process()

    def _written(self, sequence: int, sealed: Sealed) -> Chunk:
        self._last = self.newest = sequence
        self.written_bytes += len(sealed.data)
        return self._stored(sequence, sealed)

    def _next_name(self) -> str:
        self._number += 1
        return f"{self._name}-{self._number}"

    def _follows(self, sequence: int) -> bool:
        """Return True for the sequence of a chunk in the stream that this router knows, and false for 0."""
        if 0 < sequence <= self.newest:
            self.trouble.failed("the stream counts from the beginning: it was deleted and made anew, or comes from a backup")
        return sequence > self.newest

    async def _found(self, names: Sequence[str]) -> tuple[int, int]:
        """Look up where the subject ends; returns the stream sequence of the last of the chunks, and how many are stored."""
        found = await self._api.last(self._names.stream, self._subject)
        if found is not None and found.id in names:
            # fewer than all only where a single server has lost its power in between
            return found.sequence, names.index(found.id) + 1
        if found is not None and _incarnation(found.id) > self._incarnation:
            # it has taken over the subject, and its chunks must not be mixed with ours
            raise Unavailable("another router was started with the name of this one: give each router another name")
        self._last = found.sequence if found is not None else 0
        return 0, 0


def _incarnation(message_id: str) -> int:
    """Return the number of the process that stored a chunk, by its message id."""
    parts = message_id.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0
