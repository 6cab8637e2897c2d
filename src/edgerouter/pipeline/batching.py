"""Batches: gather what a sink wants into writes within the policy and the service's limits."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any

from edgerouter.config.model import BatchPolicy
from edgerouter.message import Message
from edgerouter.sink import Sink
from edgerouter.spool.contract import Reader

MOST_OPEN_MESSAGES = 100_000
"""Most messages of all open batches of a sink together; beyond it the fullest is written early."""


@dataclass(slots=True)
class Batch:
    """Messages for one write."""

    messages: list[Message]
    size: int | None
    """Sum of the sink's `size_of`; `None` = the sink has to be asked."""
    too_large: bool = False
    """These messages are each over the service's limit: they cannot be written at all."""
    kept: bool = False
    """The spool remembers the boundaries of this batch."""


@dataclass(slots=True)
class _Open:
    """A batch that is still filling."""

    worker: int
    opened: float
    messages: list[Message] = field(default_factory=list)
    size: int = 0


class Gatherer:
    """Fills batches from a reader, for one or more workers that write at the same time.

    A batch is handed out when it is full, or when a worker is idle and its `linger` is over: while all workers write, batches fill.
    Messages with the same order key always go to the same worker, so that they are never in two writes at once; where the sink
    orders by nothing, all workers share the batches.

    Args:
        reader: the sink's place in the spool.
        sink: the open sink, for its limits, sizes, partitions and order.
        policy: the user's `batch`.
        workers: how many workers call `next`.
    """

    def __init__(self, reader: Reader, sink: Sink[Any], policy: BatchPolicy, workers: int) -> None:
        limits = sink.limits
        self._reader = reader
        self._size_of = sink.size_of
        self._partition_of = sink.partition_of
        self._order_of = sink.order_of
        self._linger = policy.linger
        self._max_open = policy.max_partitions
        self._max_open_bytes = policy.max_buffered_bytes
        self._max_messages = min(policy.max_messages, limits.max_messages or policy.max_messages)
        self._max_bytes = min(policy.max_bytes, limits.max_bytes or policy.max_bytes)
        hard = [limit for limit in (limits.max_message_bytes, limits.max_bytes) if limit is not None]
        self._max_message_bytes = min(hard) if hard else None
        kind = type(sink)
        self._partitioned = kind.partition_of is not Sink.partition_of or (workers > 1 and kind.order_of is not Sink.order_of)
        self._workers = workers
        self._open: dict[tuple[int, Hashable], _Open] = {}
        self._open_messages = 0
        self._open_bytes = 0
        self._ready_messages = 0
        self._ready_bytes = 0
        self._ready: list[deque[Batch]] = [deque() for _ in range(workers + 1)]  # the last one is shared by all workers
        self._waiters: list[asyncio.Future[None]] = []
        self._pulled = asyncio.Event()
        self._lingers = True

    @property
    def gathered(self) -> int:
        """Messages in batches that are filling or wait for a worker."""
        return self._open_messages + self._ready_messages

    def stop_lingering(self) -> None:
        """Hand out every batch at once: the router is stopping."""
        self._lingers = False
        self._wake()

    def give_back(self) -> None:
        """Return everything gathered to the reader, untouched."""
        messages = [message for batch in self._open.values() for message in batch.messages]
        messages += [message for ready in self._ready for batch in ready if not batch.kept for message in batch.messages]
        self._open.clear()
        self._open_messages = self._open_bytes = 0
        self._ready_messages = self._ready_bytes = 0
        for ready in self._ready:
            ready.clear()
        if messages:
            messages.sort(key=lambda message: message.sequence)
            self._reader.give_back(messages)

    async def watch(self) -> None:
        """Wake an idle worker whenever the reader has something; runs beside the workers, until cancelled."""
        while True:
            await self._reader.wait()
            self._pulled.clear()
            self._wake()
            await self._pulled.wait()

    async def next(self, worker: int) -> Batch:
        """The next batch for this worker; waits for messages, and for `linger`."""
        shared = self._ready[self._workers]
        own = self._ready[worker]
        while True:
            if own or shared:
                return self._handed_out((own or shared).popleft())
            if self._pull():
                continue
            deadline = self._close_due(worker)
            if own or shared:
                continue
            await self._wait(deadline)

    def _pull(self) -> bool:
        """Take from the reader what there is room for; False when nothing came."""
        if self._crowded:
            return False  # what waits for a worker that fails would fill the memory; `_handed_out` wakes us
        self._pulled.set()
        if self._partitioned:
            if self._open_messages >= MOST_OPEN_MESSAGES or self._open_bytes >= self._max_open_bytes:
                self._close_fullest()
                return True
            messages = self._reader.take(self._max_messages)
            if messages:
                self._sort_in(messages)
            return bool(messages)
        filling = self._open.get((self._workers, None))
        messages = self._reader.take(self._max_messages - (len(filling.messages) if filling else 0))
        if messages:
            self._append(messages)
        return bool(messages)

    @property
    def _crowded(self) -> bool:
        return self._ready_messages >= MOST_OPEN_MESSAGES or self._ready_bytes >= self._max_open_bytes

    def _handed_out(self, batch: Batch) -> Batch:
        crowded = self._crowded
        self._ready_messages -= len(batch.messages)
        self._ready_bytes -= batch.size or 0
        if crowded and not self._crowded:
            self._wake()
        return batch

    def _append(self, messages: list[Message]) -> None:
        """Add to the one open batch; the common case of all of them fitting costs one pass over sizes."""
        try:
            sizes = list(map(self._size_of, messages))
            total, largest = sum(sizes), max(sizes)
        except Exception:  # noqa: BLE001  (told with the message that it is about)
            self._sort_in(messages)
            return
        filling = self._open.get((self._workers, None)) or self._new(self._workers, None)
        if (self._max_message_bytes is None or largest <= self._max_message_bytes) and filling.size + total <= self._max_bytes:
            filling.messages += messages
            filling.size += total
            self._open_messages += len(messages)
            self._open_bytes += total
            if len(filling.messages) >= self._max_messages:
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
        if len(self._open) > self._max_open:
            for _ in range(len(self._open) - self._max_open):
                self._close_fullest()

    def _add(self, worker: int, partition: Hashable, message: Message, size: int) -> None:
        if self._max_message_bytes is not None and size > self._max_message_bytes:
            self._set_ready(worker, Batch([message], size, too_large=True))
            return
        key = (worker, partition)
        filling = self._open.get(key)
        if filling is not None and filling.messages and filling.size + size > self._max_bytes:
            self._close(key)
            filling = None
        if filling is None:
            filling = self._new(worker, partition)
        filling.messages.append(message)
        filling.size += size
        self._open_messages += 1
        self._open_bytes += size
        if len(filling.messages) >= self._max_messages or filling.size >= self._max_bytes:
            self._close(key)

    def _new(self, worker: int, partition: Hashable) -> _Open:
        filling = self._open[(worker, partition)] = _Open(worker, asyncio.get_running_loop().time())
        return filling

    def _close(self, key: tuple[int, Hashable]) -> None:
        filling = self._open.pop(key)
        self._open_messages -= len(filling.messages)
        self._open_bytes -= filling.size
        if filling.messages:
            self._set_ready(filling.worker, Batch(filling.messages, filling.size))

    def _set_ready(self, worker: int, batch: Batch) -> None:
        self._ready[worker].append(batch)
        self._ready_messages += len(batch.messages)
        self._ready_bytes += batch.size or 0
        self._wake()

    def _close_fullest(self) -> None:
        self._close(max(self._open, key=lambda key: self._open[key].size))

    def _close_due(self, worker: int) -> float | None:
        """Close what has lingered long enough for this idle worker; else say when the next one is due."""
        now = asyncio.get_running_loop().time()
        deadline = None
        for key, filling in list(self._open.items()):
            if filling.worker in (worker, self._workers) and filling.messages:
                due = filling.opened + self._linger if self._lingers else filling.opened
                if due <= now:
                    self._close(key)
                    if not self._linger:
                        return None  # one batch is enough for one idle worker; the others may fill on
                elif deadline is None or due < deadline:
                    deadline = due
        return deadline

    async def _wait(self, deadline: float | None) -> None:
        """Until there is more to take, another worker changed something, or the deadline."""
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        timer = loop.call_at(deadline, self._wake) if deadline is not None else None
        self._waiters.append(waiter)
        try:
            await waiter
        finally:
            if timer is not None:
                timer.cancel()
            if waiter in self._waiters:
                self._waiters.remove(waiter)

    def _wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
