"""Append: deliveries become chunks, chunks become JetStream messages, and the answer acknowledges the deliveries.

One chunk is on its way at a time. Whatever arrives meanwhile joins the next one, so a slow cluster gets larger chunks and not more
of them. Two at once could change places: the server might refuse the first and store the second, and a key would lose its order.
For the same reason each message names the sequence that this router's subject ended with before. So a repeat after a lost answer is
stored once, however late it comes, and a second router under the same name is refused.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Protocol

import structlog

from edgerouter import Unavailable
from edgerouter.errors import SpoolError
from edgerouter.source import Delivery
from edgerouter.spool.log.chunk import MAX_BYTES, MAX_MESSAGES, Chunk
from edgerouter.spool.log.grouping import Append
from edgerouter.tasks.backoff import full_jitter
from edgerouter_nats.spool.api import EXPECTED_LAST, FULL, MESSAGE_ID, WRONG_LAST, Api, ApiError
from edgerouter_nats.spool.names import Names
from edgerouter_nats.spool.routing import Routing
from edgerouter_nats.spool.sealing import Sealing, TooLarge
from edgerouter_nats.spool.stored import Envelopes, Sealed

_FIRST_DELAY: Final = 0.05
_MAX_DELAY: Final = 2.0

log = structlog.get_logger("edgerouter.spool")


class Room(Protocol):
    """Makes room in a full stream."""

    async def make(self, need: int, *, may_drop: bool) -> bool:
        """Make room, or wait a while; False when a delivery is to be dropped instead."""


class Safety(Protocol):
    """Says why the stream must be given no message; an empty text where it may."""

    async def __call__(self, *, again: bool) -> str: ...


class Appender:
    """Stores deliveries in the order in which they were given.

    Args:
        api: of JetStream.
        names: of the stream.
        router: name of this router.
        incarnation: number of this process among those of the router; no earlier one had it.
        envelopes: encode chunks.
        routing: the sinks that are counted.
        stored: called with each stored chunk, its routing and its bytes, before its deliveries are acknowledged.
        acknowledged: called with each delivery and the stream sequence of its first chunk.
        drop: counts a delivery that has no room, or is too large.
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
        envelopes: Envelopes,
        routing: Routing,
        stored: Callable[[int, Sealed, int], Chunk],
        acknowledged: Callable[[Append, Chunk], None],
        drop: Callable[[Append, str], None],
        room: Room,
        safety: Safety,
    ) -> None:
        self._api = api
        self._names = names
        self._subject = names.subject(router)
        self._name = f"{router}-{incarnation}"
        self._incarnation = incarnation
        self._sealing = Sealing(api.link, envelopes, routing)
        self._routing = routing
        self._stored = stored
        self._acknowledged = acknowledged
        self._drop = drop
        self._room = room
        self._safety = safety
        self._waiting: deque[Append] = deque()
        self._wake = asyncio.Event()
        self._closed = False
        self._number = 0
        self.last = 0
        """Stream sequence of the last message of this router's subject; 0 = there is none."""
        self.newest = 0
        """A stream sequence that the stream has had: the next chunk of this router comes behind it."""
        self.full = ""
        """Why a delivery waits for room; empty when none does."""
        self.failing = ""
        """Why the last attempt failed; empty when it did not."""
        self.messages = 0
        self.written_bytes = 0
        self.commits = 0

    async def append(self, append: Append) -> None:
        """Return when the delivery is stored and acknowledged."""
        if self._closed:
            raise SpoolError("the spool is closed")
        self._waiting.append(append)
        self._wake.set()
        try:
            await append.stored
        except asyncio.CancelledError:
            if append in self._waiting:
                self._waiting.remove(append)
            raise

    def close(self) -> None:
        """Take no more deliveries."""
        self._closed = True
        for append in self._waiting:
            if not append.stored.done():
                append.stored.set_exception(SpoolError("the spool is closed"))
        self._waiting.clear()

    async def run(self) -> None:
        """Store what waits until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                appends = self._gather()
                try:
                    await self._store(appends)
                except Exception as error:
                    # not the stream: these messages cannot be stored, now or later
                    log.exception("deliveries cannot be stored")
                    for append in appends:
                        if not append.stored.done():
                            append.stored.set_exception(error)
                except asyncio.CancelledError:
                    self._waiting.extendleft(append for append in reversed(appends) if not append.stored.done())
                    raise

    # -- gather -----------------------------------------------------------------------------------------------------------------

    def _gather(self) -> list[Append]:
        """Take off as many deliveries as one chunk holds; a larger one alone."""
        appends: list[Append] = []
        size = messages = 0
        while self._waiting:
            append = self._waiting[0]
            size += append.size
            messages += len(append.delivery.messages)
            if appends and (size > MAX_BYTES or messages > MAX_MESSAGES or append.only != appends[0].only):
                break
            self._waiting.popleft()
            if not append.stored.done():  # its source may have given up
                self._routing.recount(append)
                appends.append(append)
        return appends

    # -- store ------------------------------------------------------------------------------------------------------------------

    async def _store(self, appends: list[Append]) -> None:
        parts = await self._sealed(appends)
        if parts is None:
            return
        chunks: list[Chunk] = []
        for part in parts:
            chunk = await self._publish(part, may_drop=not chunks)
            if chunk is None:
                self._reject(appends, "spool_full")
                return
            chunks.append(chunk)
        for append in appends:
            if chunks:
                self._acknowledged(append, chunks[0])
            append.acknowledge()  # the promise: acknowledge after the answer, in the order received

    async def _sealed(self, appends: list[Append]) -> list[Sealed] | None:
        """Return the chunks of the deliveries; `None` once these are stored one by one, because a message of one is too large."""
        while True:
            try:
                return self._sealing.seal(appends)
            except TooLarge as error:
                if len(appends) == 1:
                    self._leave_out(appends[0], error)
                    continue
            for append in appends:
                await self._store([append])
            return None

    def _leave_out(self, append: Append, error: TooLarge) -> None:
        """Drop and count a message of a delivery; its neighbours can be stored."""
        message, most = error.message, self._api.link.max_payload
        log.error(
            "a message is too large for the stream and is dropped: raise max_payload of the NATS servers",
            topic=message.topic,
            bytes=error.size,
            max_payload=most,
        )
        matchers, delivery = self._routing.matchers, append.delivery
        wanted = {key: 1 for key in append.wanted if append.only or (key in matchers and matchers[key](message.topic))}
        size = len(message.payload)
        alone = replace(append, delivery=Delivery([message], delivery.acknowledge), wanted=wanted, size=size)
        self._drop(alone, "message_too_large")
        append.delivery = delivery.shaped([each for each in delivery.messages if each is not message])
        append.size -= size
        append.wanted = {key: count - wanted.get(key, 0) for key, count in append.wanted.items()}

    async def _publish(self, sealed: Sealed, *, may_drop: bool) -> Chunk | None:
        """Store a chunk, however long that takes; `None` when there is no room and it is to be dropped."""
        self._number += 1
        name = f"{self._name}-{self._number}"
        attempt = 0
        while True:
            try:
                await self._check()
                sequence = await self._api.publish(self._subject, sealed.data, {MESSAGE_ID: name, EXPECTED_LAST: str(self.last)})
                if self._follows(sequence):
                    break
            except ApiError as error:
                if error.code == FULL:
                    self.full = f"max_bytes: {error}"
                    if not await self._room.make(len(sealed.data), may_drop=may_drop):
                        self.full = ""
                        return None
                    continue
                if error.code in WRONG_LAST and self._follows(sequence := await self._found(name)):
                    break
                if error.code not in WRONG_LAST:
                    self._failed(str(error))
            except Unavailable as error:
                self._failed(str(error))
            attempt += 1
            if self.failing:
                await asyncio.sleep(full_jitter(attempt, _FIRST_DELAY, _MAX_DELAY, floor=0.5))
        self._succeeded()
        self.last = self.newest = sequence
        self.commits += 1
        self.messages += len(sealed.new.messages)
        self.written_bytes += len(sealed.data)
        return self._stored(sequence, sealed, len(sealed.data))

    async def _check(self) -> None:
        """Refuse to store where the stream could lose it.

        Raises:
            Unavailable: it could, or nothing answers.
        """
        reason = await self._safety(again=bool(self.failing))
        if reason:
            raise Unavailable(reason)

    def _follows(self, sequence: int) -> bool:
        """Return True for the sequence of a chunk in the stream that this router knows, and false for 0."""
        if 0 < sequence <= self.newest:
            self._failed("the stream counts from the beginning: it was deleted and made anew, or comes from a backup")
        return sequence > self.newest

    async def _found(self, name: str) -> int:
        """Look up where this router's subject ends; returns the sequence of the chunk if it was stored, or 0."""
        try:
            found = await self._api.last(self._names.stream, self._subject)
        except (Unavailable, ApiError) as error:
            self._failed(str(error))
            return 0
        if found is None:
            # everything is settled and trimmed
            self.last = 0
            return 0
        if found.id == name:
            return found.sequence
        if _incarnation(found.id) > self._incarnation:
            # it has taken over the subject, and its chunks must not be mixed with ours
            self._failed("another router was started with the name of this one: give each router another name")
            return 0
        self.last = found.sequence
        return 0

    def _reject(self, appends: list[Append], reason: str) -> None:
        for append in appends:
            self._drop(append, reason)
            append.acknowledge()

    def _failed(self, reason: str) -> None:
        if not self.failing:
            log.warning("deliveries cannot be stored, trying again", reason=reason)
        self.failing = reason

    def _succeeded(self) -> None:
        if self.failing:
            log.info("deliveries are stored again")
        self.failing = self.full = ""


def _incarnation(message_id: str) -> int:
    """Return the number of the process that stored a chunk, by its message id."""
    parts = message_id.rsplit("-", 2)
    return int(parts[1]) if len(parts) == 3 and parts[1].isdigit() else 0
