"""Receives from a service that leases messages: polls, extends leases, and acknowledges stored messages in the background."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Final, Self

from edgerouter.errors import EdgerouterError, Unavailable
from edgerouter.receiving.inbox import Inbox
from edgerouter.receiving.leases import Leases, LeaseService, receipt_of
from edgerouter.receiving.problems import Problems
from edgerouter.source import SourceContext

_EMPTY_SOONER: Final = 0.5
"""Seconds; an empty answer sooner than this is not from a long poll: pause for as long."""
_FLUSH_SECONDS: Final = 5.0
"""Seconds to wait for acknowledgements when closing; unacknowledged messages are redelivered and recognised."""
_LEASES: Final = 3
"""Leases that must end before messages of an earlier run that did not come again count as acknowledged."""


class LeaseReceiver:
    """A running source of leased messages.

    A service that is unreachable at the start, or later refuses access, ends `deliveries`: the router reopens the source
    with secrets that may have changed. Other failures to receive are retried here, because closing would lose the leases of
    messages that are not stored yet.

    Args:
        service: service to receive from.
        context: context of the source.
        max_messages: most messages held; see `Inbox`.
        max_bytes: most bytes held; see `Inbox`.
        polls: concurrent requests for messages; all but one run only while answers come back full.
    """

    def __init__(self, service: LeaseService, context: SourceContext, *, max_messages: int, max_bytes: int, polls: int) -> None:
        self._service = service
        self._context = context
        self._polls = polls
        self._most = max(1, min(service.most_received, max_messages))
        self._leases = Leases(context.unacknowledged)
        self._max_leases = max_messages + polls * service.most_received
        self.inbox: Inbox[str] = Inbox(
            max_messages,
            max_bytes,
            acknowledged=self._acknowledged,
            flush_now=context.flush_now,
            receipt=receipt_of,
            confirmation=self._leases.confirmation,
        )
        self._waiting: deque[str] = deque()
        """Ids to acknowledge."""
        self._acknowledging = 0
        self._to_acknowledge = asyncio.Event()
        self._fewer = asyncio.Event()
        self._busy = asyncio.Event()
        self._problems = Problems(context, service.what, end=self.inbox.fail)
        self._problems.until(["receive"])
        self._tasks: list[asyncio.Task[None]] = []

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Receive inside the context; on exit, acknowledge stored messages for a short while."""
        self._tasks.append(self._problems.start(self._receive(), "receive"))
        try:
            yield self
        finally:
            self.stop()
            await self._flush()
            tasks = list(self._tasks)
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)

    def stop(self) -> None:
        """Receive no more. Messages that the service sends at this moment are redelivered when their lease ends."""
        self.inbox.stop()
        self._tasks[0].cancel()

    async def _receive(self) -> None:
        await self._service.connect()
        self._problems.solved("receive")
        if self._context.probe:
            return
        self._tasks += [self._problems.start(self._acknowledge(), f"acknowledge {number}") for number in range(self._polls)]
        self._tasks.append(self._problems.start(self._extend(), "extend"))
        async with asyncio.TaskGroup() as tasks:
            for number in range(self._polls):
                tasks.create_task(self._poll(extra=number > 0), name=f"{self._context.name}: poll {number}")

    async def _poll(self, *, extra: bool) -> None:
        """Request messages for ever. An extra poll does so only while answers come back full."""
        failures, most = 0, self._most
        clock = asyncio.get_running_loop().time
        while True:
            if extra:
                await self._busy.wait()
            while len(self._leases) > self._max_leases:  # acknowledgements fail: stored messages would only be redelivered
                self._fewer.clear()
                await self._fewer.wait()
            await self.inbox.reserve(most)
            asked = clock()
            try:
                leased = await self._service.receive(most)
            except Unavailable as error:
                failures += 1
                await self._problems.retry("receive", error, failures)
                continue
            else:
                fresh, again = self._leases.take(leased, clock() + self._service.first_lease)
                self.inbox.put([each.message for each in fresh if each.message is not None], [each.id for each in fresh])
                self._enqueue(again)
            finally:
                self.inbox.release(most)
            failures = 0
            self._problems.solved("receive")
            if len(leased) >= most:
                self._busy.set()
            elif not leased:
                self._busy.clear()
                if clock() - asked < _EMPTY_SOONER:
                    await asyncio.sleep(_EMPTY_SOONER)

    def _acknowledged(self, ids: Sequence[str]) -> None:
        self._leases.stored(ids)
        self._enqueue(ids)

    def _enqueue(self, ids: Sequence[str]) -> None:
        if ids:
            self._waiting.extend(ids)
            self._to_acknowledge.set()

    async def _acknowledge(self) -> None:
        failures = 0
        waiting = self._waiting
        while True:
            await self._to_acknowledge.wait()
            ids = [waiting.popleft() for _ in range(min(len(waiting), self._service.most_acknowledged))]
            if not waiting:
                self._to_acknowledge.clear()
            handles = {handle: each for each in ids if (handle := self._leases.handle(each)) is not None}
            if not handles:
                continue
            self._acknowledging += 1
            error: EdgerouterError | None = None
            try:
                again = set(await self._service.acknowledge(list(handles)))
            except EdgerouterError as failed:
                error, again = failed, set(handles)
            finally:
                self._acknowledging -= 1
            for handle, each in handles.items():
                if handle not in again:
                    self._leases.done(each, handle)
            self._fewer.set()
            if not again:
                failures = 0
                self._problems.solved("acknowledge")
                continue
            failures += 1
            reason = f"{self._service.what}: not acknowledged: {error or 'the service could not just now'}"
            await self._problems.back_off("acknowledge", reason, failures, error)
            self._enqueue([handles[handle] for handle in again])

    async def _extend(self) -> None:
        clock = asyncio.get_running_loop().time
        service = self._service
        interval = min(service.first_lease, service.lease) / 4
        patience = _LEASES * max(service.first_lease, service.lease)
        redelivered = clock() + patience
        while True:
            await asyncio.sleep(interval)
            if "receive" in self._problems:
                redelivered = clock() + patience
            elif clock() > redelivered:
                self._leases.confirm_earlier()
            ending = self._leases.ending(clock() + min(service.first_lease, service.lease) / 2)
            for at in range(0, len(ending), service.most_acknowledged):
                some = ending[at : at + service.most_acknowledged]
                try:
                    await service.extend([handle for _, handle in some])
                except EdgerouterError as error:
                    self._problems.occurred("extend", f"{service.what}: leases not extended: {error}")
                    break
                self._leases.extended(some, clock() + service.lease)
                self._problems.solved("extend")

    async def _flush(self) -> None:
        try:
            async with asyncio.timeout(_FLUSH_SECONDS):
                # shutdown is not a hot path: polling is simpler than an event from every place that acknowledges
                while (self._waiting or self._acknowledging) and "acknowledge" not in self._problems:  # noqa: ASYNC110
                    await asyncio.sleep(0.01)
        except TimeoutError:
            self._problems.log.warning("stopped before all was acknowledged", messages=len(self._waiting))
