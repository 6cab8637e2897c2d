"""Batches: gather what a sink wants into writes within the policy and the service's limits."""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, Self

import msgspec

from edgerouter.config.model import BatchPolicy
from edgerouter.message import Message
from edgerouter.pipeline.ready import Batch, Idle, Ready
from edgerouter.sink import Limits, Sink
from edgerouter.spool.contract import Reader

MOST_OPEN_MESSAGES = 100_000
"""Most messages of all open batches of a sink together; beyond it the fullest is written early."""


@dataclass(slots=True)  # its size is set for each message, which takes a Struct twice as long
class _Open:
    """A batch that is still filling."""

    worker: int
    opened: float
    messages: list[Message] = field(default_factory=list)
    size: int = 0


class _Bounds(msgspec.Struct, frozen=True):
    """Bounds of batches: the user's, clipped to those of the service."""

    linger: float
    max_open: int
    max_open_bytes: int
    max_messages: int
    max_bytes: int
    max_message_bytes: int | None

    @classmethod
    def of(cls, policy: BatchPolicy, limits: Limits) -> Self:
        hard = [limit for limit in (limits.max_message_bytes, limits.max_bytes) if limit is not None]
        return cls(
            policy.linger,
            policy.max_partitions,
            policy.max_buffered_bytes,
            min(policy.max_messages, limits.max_messages or policy.max_messages),
            min(policy.max_bytes, limits.max_bytes or policy.max_bytes),
            min(hard) if hard else None,
        )


class Gatherer:
    """Fills batches from a reader, for one or more workers that write at the same time.

    A batch is handed out when it is full, or when a worker is idle and its `linger` is over: while all workers write, batches fill.
    Messages with the same order key always go to the same worker, so that they are never in two writes at once; where the sink
    orders by nothing, all workers share the batches.

    One idle worker reads for all, and wakes those that it has something for. A worker that leaves with a batch before everything is
    read wakes another one to read on, so a write that hangs keeps nothing from the others.

    Args:
        reader: the sink's place in the spool.
        sink: the open sink, for its limits, sizes, partitions and order.
        policy: the user's `batch`.
        workers: how many workers call `next`.
    """

    def __init__(self, reader: Reader, sink: Sink[Any], policy: BatchPolicy, workers: int) -> None:
        self._now = asyncio.get_running_loop().time
        self._reader = reader
        self._size_of = sink.size_of
        self._sizes_of = sink.sizes_of
        self._partition_of = sink.partition_of
        self._order_of = sink.order_of
        self._bounds = _Bounds.of(policy, sink.limits)
        self._partitioned = sink.partitioned or (workers > 1 and sink.ordered)
        self._workers = workers
        self._open: dict[tuple[int, Hashable], _Open] = {}
        self._open_messages = 0
        self._open_bytes = 0
        self._ready = Ready(workers, max_messages=MOST_OPEN_MESSAGES, max_bytes=policy.max_buffered_bytes)
        self._idle = Idle()
        self._lingers = True
        self._unread = True
        """The reader may have more: one of the idle workers is to look."""
        reader.on_ready(self._read_on)

    @property
    def gathered(self) -> int:
        """Messages in batches that are filling or wait for a worker."""
        return self._open_messages + self._ready.messages

    def stop_lingering(self) -> None:
        """Hand out every batch at once: the router is stopping."""
        self._lingers = False
        self._idle.wake_all()

    def give_back(self) -> None:
        """Return everything gathered to the reader, untouched."""
        messages = [message for batch in self._open.values() for message in batch.messages]
        messages += self._ready.clear()
        self._open.clear()
        self._open_messages = self._open_bytes = 0
        if messages:
            messages.sort(key=lambda message: message.sequence)
            self._reader.give_back(messages)

    async def next(self, worker: int) -> Batch:
        """The next batch for this worker; waits for messages, and for `linger`."""
        while True:
            batch = self._hand_out(worker)
            if batch is not None:
                if self._unread:
                    self._idle.wake_one()
                return batch
            if self._pull():
                continue
            deadline = self._close_due(worker)
            if not self._ready.has(worker):
                await self._idle.wait(worker, deadline)

    def _read_on(self) -> None:
        self._unread = True
        self._idle.wake_one()

    def _pull(self) -> bool:
        """Take from the reader what there is room for; False when nothing came."""
        if self._ready.crowded:
            return False  # what waits for a worker that fails would fill the memory; `_hand_out` wakes us
        if self._partitioned:
            if self._open_messages >= MOST_OPEN_MESSAGES or self._open_bytes >= self._bounds.max_open_bytes:
                self._close_fullest()
                return True
            messages = self._reader.take(self._bounds.max_messages)
            if messages:
                self._sort_in(messages)
            self._unread = bool(messages)
            return self._unread
        filling = self._open.get((self._workers, None))
        messages = self._reader.take(self._bounds.max_messages - (len(filling.messages) if filling else 0))
        if messages:
            self._append(messages)
        self._unread = bool(messages)
        return self._unread

    def _hand_out(self, worker: int) -> Batch | None:
        crowded = self._ready.crowded
        batch = self._ready.take(worker)
        if crowded and not self._ready.crowded:
            self._unread = True
        return batch

    def _append(self, messages: list[Message]) -> None:
        """Add to the one open batch; the common case of all of them fitting costs one pass over sizes."""
        try:
            sizes = self._sizes_of(messages)
            total, largest = sum(sizes), max(sizes)
        except Exception:  # noqa: BLE001  (told with the message that it is about)
            self._sort_in(messages)
            return
        filling = self._open.get((self._workers, None)) or self._new(self._workers, None)
        bounds = self._bounds
        if (bounds.max_message_bytes is None or largest <= bounds.max_message_bytes) and filling.size + total <= bounds.max_bytes:
            filling.messages += messages
            filling.size += total
            self._open_messages += len(messages)
            self._open_bytes += total
            if len(filling.messages) >= bounds.max_messages:
                self._close((self._workers, None))
            return
        for message, size in zip(messages, sizes, strict=True):
            self._add(self._workers, None, message, size)

    def _sort_in(self, messages: list[Message]) -> None:
        ordered = self._workers > 1
        for message in messages:
            worker = self._workers
            try:
                if ordered and (order := self._order_of(message)) is not None:
                    worker = hash(order) % self._workers
                partition = self._partition_of(message)
                hash(partition)
                size = self._size_of(message)
                if not size >= 0:
                    raise ValueError(f"size_of() returned {size!r}")  # noqa: TRY301  (as if the sink had)
            except Exception:  # noqa: BLE001  (written alone: then the sink says what is wrong with it, and to whom)
                self._set_ready(worker, Batch([message], None))
            else:
                self._add(worker, partition, message, size)
        if len(self._open) > self._bounds.max_open:
            for _ in range(len(self._open) - self._bounds.max_open):
                self._close_fullest()

    def _add(self, worker: int, partition: Hashable, message: Message, size: int) -> None:
        bounds = self._bounds
        if bounds.max_message_bytes is not None and size > bounds.max_message_bytes:
            self._set_ready(worker, Batch([message], size, too_large=True))
            return
        key = (worker, partition)
        filling = self._open.get(key)
        if filling is not None and filling.messages and filling.size + size > bounds.max_bytes:
            self._close(key)
            filling = None
        if filling is None:
            filling = self._new(worker, partition)
        filling.messages.append(message)
        filling.size += size
        self._open_messages += 1
        self._open_bytes += size
        if len(filling.messages) >= bounds.max_messages or filling.size >= bounds.max_bytes:
            self._close(key)

    def _new(self, worker: int, partition: Hashable) -> _Open:
        filling = self._open[(worker, partition)] = _Open(worker, self._now())
        self._idle.wake(worker)
        return filling

    def _close(self, key: tuple[int, Hashable]) -> None:
        filling = self._open.pop(key)
        self._open_messages -= len(filling.messages)
        self._open_bytes -= filling.size
        if filling.messages:
            self._set_ready(filling.worker, Batch(filling.messages, filling.size))

    def _set_ready(self, worker: int, batch: Batch) -> None:
        self._ready.add(worker, batch)
        if worker < self._workers:
            self._idle.wake(worker)
        else:
            self._idle.wake_one()

    def _close_fullest(self) -> None:
        self._close(max(self._open, key=lambda key: self._open[key].size))

    def _close_due(self, worker: int) -> float | None:
        """Close what has lingered long enough for this idle worker; else say when the next one is due."""
        now = self._now()
        deadline = None
        for key, filling in list(self._open.items()):
            if filling.worker in (worker, self._workers) and filling.messages:
                due = filling.opened + self._bounds.linger if self._lingers else filling.opened
                if due <= now:
                    self._close(key)
                    if not self._bounds.linger:
                        return None  # one batch is enough for one idle worker; the others may fill on
                elif deadline is None or due < deadline:
                    deadline = due
        return deadline
