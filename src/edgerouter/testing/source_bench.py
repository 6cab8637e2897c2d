"""A source run as the router runs it, with what its author says about it."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar, TypeVar, overload

import pytest

from edgerouter.message import Message
from edgerouter.plugin_config import Configured
from edgerouter.source import Delivery, Source, SourceContext
from edgerouter.testing.messages import SPOOL
from edgerouter.testing.plugin_promises import PluginPromises
from edgerouter.topics import check_name

Send = Callable[[Sequence[bytes]], Awaitable[None]]
"""Sends these payloads to the source."""
Acknowledged = Callable[[], int | Awaitable[int]]
"""Returns the number of messages whose acknowledgement the sender has got."""

_CLOCK_SECONDS = 3600
_Result = TypeVar("_Result")


@dataclass(slots=True)
class Told:
    """Record of the calls a source made to the router."""

    connected: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""

    def hear(self, yes: bool, reason: str) -> None:
        """Note what the source reports."""
        self.reason = reason
        if yes:
            self.connected.set()


class Flood(Sequence[bytes]):
    """Four thousand payloads of 1 KiB, each made when it is sent."""

    def __len__(self) -> int:
        return 4000

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> list[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | list[bytes]:
        if isinstance(index, slice):
            return [self[each] for each in range(*index.indices(len(self)))]
        if index >= len(self):
            raise IndexError(index)
        return b"%06d" % index + b"x" * 1018


class SourceBench(PluginPromises):
    """Declarations of a subclass, its fixtures, and the steps that the tests are written in."""

    source_class: ClassVar[type[Source[Any]]]
    """The source under test."""
    keeps_order: ClassVar[bool] = True
    """Messages come in the order in which one sender sent them."""
    unsupported: ClassVar[Mapping[str, str]] = {}
    """Abilities that are missing here, with reasons: `acknowledged` where the sender never learns what was stored, `memory` where
    something else bounds what waits for the spool. Tests that need it are not collected."""

    @property
    def plugin_class(self) -> type[Configured[Any]]:
        return self.source_class

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The source's fields as in the YAML file; a subclass replaces this."""
        raise NotImplementedError("a subclass of SourceConformance has a fixture `config` that gives the source's own fields")

    @pytest.fixture
    def send(self) -> Send:
        """An async callable that sends payloads to the source, as one sender does; a subclass replaces this."""
        raise NotImplementedError("a subclass of SourceConformance has a fixture `send` that sends payloads to the source")

    @pytest.fixture
    def acknowledged(self) -> Acknowledged:
        """A callable that returns the number of acknowledged messages; a subclass replaces this, or declares why it cannot."""
        raise NotImplementedError(
            "a subclass of SourceConformance has a fixture `acknowledged` that gives a callable, which returns the messages whose "
            'acknowledgement the sender got; where there are none: `unsupported = {"acknowledged": "the sender is never answered"}`'
        )

    @asynccontextmanager
    async def opened(self, config: Mapping[str, Any], *, probe: bool = False) -> AsyncIterator[tuple[Source[Any], Told]]:
        """Open the source as the router does."""
        told = Told()
        context = SourceContext(
            name="source",
            host="edge-1",
            spool=SPOOL,
            flush_now=lambda: None,
            dropped=lambda _topic, _messages, _reason: None,
            connected=told.hear,
            probe=probe,
        )
        async with self.source_class.open(self.source_class.Config.model_validate(dict(config)), context) as source:
            yield source, told

    async def received(self, source: Source[Any], told: Told, payloads: Sequence[bytes], send: Send) -> list[bytes]:
        """Send payloads and receive as many messages, acknowledging each delivery; then stop the source and receive the rest."""
        got: list[bytes] = []

        async def read() -> None:
            async for delivery in source.deliveries():
                got.extend(self.checked(delivery))
                delivery.acknowledge()
                if len(got) >= len(payloads):
                    source.stop()

        reading = asyncio.create_task(read(), name="read the source")
        sending: asyncio.Task[Any] | None = None
        try:
            await self.until_connected(told, reading)
            sending = asyncio.ensure_future(send(payloads))
            await self.within(reading, "messages were lost, or `deliveries` runs on: it yields what has come and ends after `stop`")
            await self.within(sending, "sending did not end: the sender waits for an acknowledgement")
        finally:
            for task in filter(None, (reading, sending)):
                task.cancel()
            await asyncio.wait([task for task in (reading, sending) if task], timeout=self.patience)
        return got

    def checked(self, delivery: Delivery) -> list[bytes]:
        """Return the payloads of a delivery, which is as the contract says."""
        assert isinstance(delivery, Delivery), f"`deliveries` yields Delivery, not {delivery!r}"
        assert delivery.messages, "a delivery holds at least one message"
        for message in delivery.messages:
            self._check(message)
        return [message.payload for message in delivery.messages]

    def _check(self, message: Message) -> None:
        assert isinstance(message, Message), f"a delivery holds Messages, not {message!r}"
        assert isinstance(message.payload, bytes), f"a payload is bytes, not {type(message.payload).__name__}: it must not change"
        check_name(message.topic)
        assert abs(message.received_at / 1e9 - time.time()) < _CLOCK_SECONDS, (
            f"`received_at` is {message.received_at}: the time of reception in nanoseconds, `time.time_ns()`"
        )
        assert message.qos in (0, 1, 2), f"`qos` is {message.qos}: 0, 1 or 2"
        assert not message.sequence, "leave `sequence` as it is: the spool gives it"
        assert not message.spool, "leave `spool` as it is: the spool gives it"

    async def until_connected(self, told: Told, reading: asyncio.Task[Any] | None = None) -> None:
        """Wait until the source reports that it is connected."""
        waiting = asyncio.create_task(told.connected.wait(), name="wait until connected")
        await asyncio.wait([waiting, *([reading] if reading else [])], timeout=self.patience, return_when="FIRST_COMPLETED")
        waiting.cancel()
        if reading is not None and reading.done() and not told.connected.is_set():
            reading.result()
        assert told.connected.is_set(), (
            f"the source did not report that it is connected ({told.reason or 'nor why not'}): call `context.connected(True, '')`"
        )

    async def within(self, work: Awaitable[_Result], advice: str) -> _Result:
        """Await something for as long as this suite is patient."""
        task = asyncio.ensure_future(work)
        done, _ = await asyncio.wait((task,), timeout=self.patience)
        if not done:
            task.cancel()
            await asyncio.wait((task,), timeout=self.patience)
        assert done, f"{advice} within {self.patience} s"
        return task.result()

    async def count(self, acknowledged: Acknowledged) -> int:
        """Return the number of acknowledged messages."""
        number = acknowledged()
        return await number if inspect.isawaitable(number) else number
