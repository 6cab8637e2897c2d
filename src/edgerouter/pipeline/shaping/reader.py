"""A reader whose messages go through the steps of its sink; it settles in the spool what each result stands for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

import msgspec
import structlog

from edgerouter.item import Item
from edgerouter.masking import mask
from edgerouter.message import Message
from edgerouter.pipeline.shaping.chain import Chain, Shaped
from edgerouter.pipeline.tap import TapPoint
from edgerouter.spool.contract import Reader, Rejection
from edgerouter.spool.status import Ledger

log = structlog.get_logger("edgerouter.steps")

MOST_AT_ONCE: Final = 2000
"""Messages that go through the steps in one turn of the event loop, where nothing is left of them."""

MOST_LEFT: Final = 20_000
"""Messages that are left out and wait, unsettled, for those around them that a step holds."""

Key = int | tuple[int, str]


def _key(message: Message) -> Key:
    return (message.sequence, message.part) if message.part else message.sequence


class ShapedReader:
    """Stands between a reader and its runner, as a reader.

    Results that differ from what is stored are kept until they are settled, with what they stand for. Messages that a step holds
    for a later result stay pending in the spool, so that a crash reads them again.

    Args:
        reader: the sink's place in the spool.
        chain: its steps.
        digest: of the sink's configuration, for dead letters.
        tap: shows what is read.
    """

    def __init__(self, reader: Reader, chain: Chain, digest: str, tap: TapPoint | None = None) -> None:
        self.chain = chain
        self._tap = tap or TapPoint()
        self._reader = reader
        self._digest = digest
        self._results: dict[Key, Item] = {}
        self._ready_made: list[Message] = []  # shaped, and not taken yet or given back; sorted
        self._left: list[Message] = []  # left out, and not settled yet
        self._rejections: list[Rejection] = []
        self._storing: asyncio.Task[None] | None = None
        self._ready: Callable[[], None] = lambda: None
        self._timer: asyncio.TimerHandle | None = None

    # -- reading ----------------------------------------------------------------------------------------------------------------

    @property
    def ledger(self) -> Ledger:
        return self._reader.ledger

    @property
    def oldest_pending_at(self) -> int | None:
        return self._reader.oldest_pending_at

    @property
    def caught_up(self) -> bool:
        return self._reader.caught_up and not self._ready_made

    @property
    def held(self) -> int:
        """Pending messages that wait for a later result: a router that stops does not wait for them."""
        return len(self.chain.held) + len(self._left)

    def on_ready(self, call: Callable[[], None]) -> None:
        self._ready = call
        self._reader.on_ready(call)

    def take(self, max_messages: int) -> list[Message]:
        if max_messages < 1 or len(self._rejections) > MOST_AT_ONCE:
            return []
        out = self._ready_made[:max_messages]
        del self._ready_made[:max_messages]
        read = 0
        while len(out) < max_messages and read < MOST_AT_ONCE:
            messages = self._reader.take(max_messages - len(out))
            if not messages:
                break
            read += len(messages)
            if self._tap.looks:
                self._tap.show(messages)
            out += self._results_of(self.chain.apply(messages))
        out += self._due()
        if len(out) > max_messages:
            self._ready_made = out[max_messages:] + self._ready_made
            del out[max_messages:]
        elif not out and read >= MOST_AT_ONCE:
            # there may be more, but everything else has a turn first
            asyncio.get_running_loop().call_soon(self._ready)
        return out

    def _due(self) -> list[Message]:
        """Return what is due by now, and set the timer for the rest.

        A part of what belongs together may still be in the spool: until all of it is read, only the time of messages counts.
        """
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self.chain.holds or not self._reader.caught_up:
            return []
        now, out = time.time_ns(), []
        if (due := self.chain.due) is not None and due <= now:
            out = self._results_of(self.chain.flush(now))
            due = self.chain.due
        if due is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, (due - now) / 1e9), self._went_off)
        return out

    def _went_off(self) -> None:
        self._timer = None
        self._ready()

    def _results_of(self, shaped: Shaped) -> list[Message]:
        """Settle what is left out, and return what is to be sent."""
        if shaped.filtered:
            self._left += shaped.filtered
            if not self.chain.holds or len(self._left) > MOST_LEFT:
                self._settle_left()
        if shaped.delivered:
            self._reader.delivered(shaped.delivered)
        if shaped.rejected:
            self._reject(shaped)
        out = []
        for item in shaped.items:
            message = item.message
            if item.behind is not None or message is not item.original:
                self._results[_key(message)] = item
            out.append(message)
        return out

    # -- settling ---------------------------------------------------------------------------------------------------------------

    def is_pending(self, message: Message) -> bool:
        return any(self._reader.is_pending(stored) for stored in self.stored(message))

    def give_back(self, messages: Sequence[Message]) -> None:
        # as results they come again; the reader does not see them
        self._ready_made = sorted([*messages, *self._ready_made], key=lambda message: (message.sequence, message.part))
        if self._ready_made:
            self._ready()

    def delivered(self, messages: Sequence[Message]) -> None:
        self._reader.delivered(self._settled(messages, delivered=True) if self._results else messages)
        if self._left:
            self._settle_left(min(self.chain.held, default=None))

    def filtered(self, messages: Sequence[Message]) -> None:
        self._reader.filtered(self._settled(messages, delivered=False))

    def dropped(self, messages: Sequence[Message], reason: str) -> None:
        self._reader.dropped(self._settled(messages, delivered=False), reason)

    async def dead_letter(self, rejections: Sequence[Rejection]) -> None:
        stored = [
            msgspec.structs.replace(rejection, message=message)
            for rejection in rejections
            for message in self.stored(rejection.message)
        ]
        await self._reader.dead_letter(stored)
        for rejection in rejections:
            self._results.pop(_key(rejection.message), None)

    async def keep_batch(self, messages: Sequence[Message]) -> None:
        stored = {m.sequence: m for message in messages for m in self.stored(message)}
        await self._reader.keep_batch(list(stored.values()))

    async def kept_batches(self) -> list[list[Message]]:
        kept = await self._reader.kept_batches()
        batches = [self._results_of(self.chain.apply(stored, again=True)) for stored in kept]
        return [batch for batch in batches if batch]

    def stored(self, message: Message) -> Iterable[Message]:
        """Return the stored messages that a result stands for."""
        item = self._results.get(_key(message))
        if item is None:
            return (message,)
        return (item.original,) if item.behind is None else [each.message for each in item.behind]

    def _settled(self, messages: Iterable[Message], *, delivered: bool) -> list[Message]:
        """Take results as settled; returns the stored messages that are so altogether."""
        done = []
        for message in messages:
            item = self._results.pop(_key(message), None)
            if item is None:
                done.append(message)
            elif item.behind is None:
                done.append(item.original)
            else:
                for each in item.behind:
                    each.open -= 1
                    each.delivered = each.delivered or delivered
                    if not each.open:
                        done.append(each.message)
        return done

    def _settle_left(self, end: int | None = None) -> None:
        """Settle what the steps left out, below this sequence: between messages that are held it would break the position up."""
        left = self._left
        self._left = [] if end is None else [message for message in left if message.sequence >= end]
        self._reader.filtered(left if end is None else [message for message in left if message.sequence < end])

    # -- rejecting --------------------------------------------------------------------------------------------------------------

    def _reject(self, shaped: Shaped) -> None:
        now = time.time_ns()
        for item, reason in shaped.rejected:
            stored = [item.original] if item.behind is None else [each.message for each in item.behind]
            self._rejections += [Rejection(message, mask(reason), "Rejected", 0, now, self._digest) for message in stored]
        if self._storing is None:
            self._storing = asyncio.create_task(self._store_rejections(), name="dead-letter what a step refused")

    async def _store_rejections(self) -> None:
        while self._rejections:
            rejections = self._rejections[:]
            await self._reader.dead_letter(rejections)
            del self._rejections[: len(rejections)]
            first = rejections[0]
            log.warning("messages dead-lettered", messages=len(rejections), first=first.message.id, reason=first.reason)
        self._storing = None
        self._ready()

    def close(self) -> None:
        """Shape nothing more; what is not settled stays pending in the spool."""
        if self._timer is not None:
            self._timer.cancel()
        self._settle_left()
        if self._storing is not None:
            self._storing.cancel()
        self.chain.close()
