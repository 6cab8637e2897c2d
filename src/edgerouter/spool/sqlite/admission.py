"""Admission: which deliveries there is room for, and what `on_full` does where there is none."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Final

import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.spool.log.grouping import Append
from edgerouter.spool.log.ledgers import Ledgers
from edgerouter.spool.log.receipts import Receipts
from edgerouter.spool.sqlite.capacity import MESSAGE_OVERHEAD
from edgerouter.spool.sqlite.db.errors import COMPLAIN_EVERY
from edgerouter.spool.sqlite.health import Health
from edgerouter.spool.sqlite.write_set import LEDGER, WriteSet

_TRANSACTION_BYTES: Final = 8 * 1024 * 1024
_FOLD_IN_EVERY: Final = 0.5

log = structlog.get_logger("edgerouter.spool")


class Admission:
    """Takes deliveries off the queue of the committer.

    Args:
        config: for `on_full`.
        health: of the disk.
        ledgers: count what is dropped.
        receipts: given up when nothing else makes room.
        writes: the write set.
        evict: drops the oldest messages, so that about so many bytes become free.
    """

    def __init__(
        self,
        config: SpoolConfig,
        health: Health,
        ledgers: Ledgers,
        receipts: Receipts,
        *,
        writes: WriteSet,
        evict: Callable[[int], None],
    ) -> None:
        self._config = config
        self._capacity = health.capacity
        self._health = health
        self._ledgers = ledgers
        self._receipts = receipts
        self._writes = writes
        self._evict = evict
        # the reserve must be able to take the log of one transaction
        self._most = min(_TRANSACTION_BYTES, self._capacity.reserve // 2)
        self._tried = float("-inf")
        self._complained = float("-inf")
        self.full = ""
        """Why the first delivery of the queue has no room; empty when it has."""

    def admit(self, waiting: deque[Append]) -> list[Append]:
        """Take off the deliveries that there is room for, in order, as many as one transaction takes."""
        appends: list[Append] = []
        size = 0
        while waiting and (not appends or size + waiting[0].size <= self._most):
            append = waiting[0]
            if append.stored.done():  # its source gave up
                waiting.popleft()
                continue
            need = size + append.size + MESSAGE_OVERHEAD * len(append.delivery.messages)
            full = self._why_full(need, first=not appends)
            if full and (appends or self._health.stuck or not self._make_room(append, need, full)):
                break
            waiting.popleft()
            if full:
                continue
            if append.routing != self._ledgers.routing:
                self._ledgers.recount(append)
            appends.append(append)
            size = need
        if appends:
            self.full = ""
        return appends

    def _why_full(self, need: int, *, first: bool) -> str:
        # a delivery that is larger than the whole spool must still get through an empty one
        full = self._capacity.why_full(need) if self._capacity.usage.messages else ""
        if self._health.stuck or not self._health.fits(need):
            full = full or "the disk is full"
            if first:
                self._health.disk_full()
                self._try_to_fold_in()
        return full

    def _try_to_fold_in(self) -> None:
        """Have an empty transaction now and then, so that the log is folded in as soon as the disk has room."""
        now = time.monotonic()
        if self._health.stuck and now - self._tried > _FOLD_IN_EVERY:
            self._tried = now
            self._writes.touch()

    def _make_room(self, append: Append, need: int, full: str) -> bool:
        """Give up what no configured sink needs, then do what `on_full` says; True when the delivery is dropped."""
        if self._capacity.usage.retained:
            # some more than asked for, so that it is not needed again at once
            self._writes.release(need + self._config.max_bytes // 32)
            return False
        self._give_up_orphans()
        if self._ledgers.settled:
            if self._receipts.hold_all(self._ledgers.settled):
                # a repeat is better than a router that waits
                self._receipts.give_up()
            self._writes.touch()
            return False
        self._complain(full)
        self.full = full
        if self._config.on_full == "drop_newest":
            self._drop(append)
            return True
        if self._config.on_full == "drop_oldest":
            self._evict(need)
        return False

    def _give_up_orphans(self) -> None:
        for sink in self._ledgers.orphans:
            ledger = self._ledgers.forget(sink)
            log.warning(
                "spool needs room: a sink that is no longer configured loses its messages", sink=sink, pending=ledger.pending
            )
            if ledger.pending:
                self._ledgers.drops.count(sink, Counter({"": ledger.pending}), "spool_full")
            self._writes.put(f"{LEDGER}{sink}", None)

    def _complain(self, full: str) -> None:
        now = time.monotonic()
        if not self.full and now - self._complained > COMPLAIN_EVERY:
            self._complained = now
            log.warning(
                "spool is full",
                reason=full,
                on_full=self._config.on_full,
                next="fix the sink with the most `pending`, or raise what the reason names",
            )

    def _drop(self, append: Append) -> None:
        if append.routing != self._ledgers.routing:
            self._ledgers.recount(append)
        self._ledgers.reject(append, "spool_full")
        self._writes.touch()
        append.acknowledge()
