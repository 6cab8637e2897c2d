"""Batches that wait for a worker, and workers that wait for a batch."""

from __future__ import annotations

import asyncio
from collections import deque

import msgspec

from edgerouter.message import Message
from edgerouter.tasks.waiting import give


class Batch(msgspec.Struct):
    """Messages for one write."""

    messages: list[Message]
    size: int | None
    """Sum of the sink's `size_of`; `None` = the sink has to be asked."""
    too_large: bool = False
    """These messages are each over the service's limit: they cannot be written at all."""
    kept: bool = False
    """The spool remembers the boundaries of this batch."""


class Ready:
    """Batches by the worker that writes them, in order; one more queue is shared by all workers.

    Args:
        workers: number of workers; also the number of the shared queue.
        max_messages: messages of all batches beyond which no more are gathered.
        max_bytes: their bytes.
    """

    def __init__(self, workers: int, *, max_messages: int, max_bytes: int) -> None:
        self._queues: list[deque[Batch]] = [deque() for _ in range(workers + 1)]
        self._max_messages = max_messages
        self._max_bytes = max_bytes
        self._bytes = 0
        self.messages = 0
        """Messages in all batches."""

    @property
    def crowded(self) -> bool:
        """More batches would fill the memory."""
        return self.messages >= self._max_messages or self._bytes >= self._max_bytes

    def add(self, worker: int, batch: Batch) -> None:
        """Add a batch for a worker."""
        self._queues[worker].append(batch)
        self.messages += len(batch.messages)
        self._bytes += batch.size or 0

    def has(self, worker: int) -> bool:
        """Return True if there is a batch that this worker may write."""
        return bool(self._queues[worker] or self._queues[-1])

    def take(self, worker: int) -> Batch | None:
        """Return the next batch for this worker, its own before the shared ones."""
        queue = self._queues[worker] or self._queues[-1]
        if not queue:
            return None
        batch = queue.popleft()
        self.messages -= len(batch.messages)
        self._bytes -= batch.size or 0
        return batch

    def clear(self) -> list[Message]:
        """Give up all batches; return the messages of those that the spool does not keep."""
        messages = [message for queue in self._queues for batch in queue if not batch.kept for message in batch.messages]
        for queue in self._queues:
            queue.clear()
        self.messages = self._bytes = 0
        return messages


class Idle:
    """Workers that have nothing to write. Each is woken alone: one message would else cost a turn of every worker."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: dict[int, asyncio.Future[None]] = {}

    async def wait(self, worker: int, deadline: float | None) -> None:
        """Return when this worker is woken, or at the deadline of the event loop's clock."""
        sign: asyncio.Future[None] = self._loop.create_future()
        timer = self._loop.call_at(deadline, self.wake, worker) if deadline is not None else None
        self._waiting[worker] = sign
        try:
            await sign
        finally:
            if timer is not None:
                timer.cancel()
            self._waiting.pop(worker, None)

    def wake(self, worker: int) -> None:
        """Have one worker look again, if it waits."""
        sign = self._waiting.pop(worker, None)
        if sign is not None:
            give(sign)

    def wake_one(self) -> None:
        """Have the worker look again that has waited for longest."""
        worker = next(iter(self._waiting), None)
        if worker is not None:
            self.wake(worker)

    def wake_all(self) -> None:
        """Have every worker look again."""
        for worker in list(self._waiting):
            self.wake(worker)
