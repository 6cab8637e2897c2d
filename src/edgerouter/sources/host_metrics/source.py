"""The host-metrics source: a sample of the machine's figures at an interval, taken in a thread."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Final, Self

import msgspec

from edgerouter.errors import Unavailable
from edgerouter.message import Message, Properties
from edgerouter.receiving.topic import ReceivedTopic, TopicSource
from edgerouter.source import Delivery, Source, SourceContext
from edgerouter.sources.host_metrics.config import HostMetricsConfig
from edgerouter.sources.host_metrics.forms import FORMS
from edgerouter.sources.host_metrics.reporting import Reporting
from edgerouter.sources.host_metrics.sample import Sample
from edgerouter.tasks.thread import Worker

_FIRST_SECONDS: Final = 1.0
"""Time from the start to the first sample: shares of processor time need a stretch of it."""
_PROPERTIES: Final = Properties(content_type="application/json")


class HostMetricsSource(Source[HostMetricsConfig]):
    """Takes a sample when one is due and the router can store it; while it cannot, none is taken."""

    def __init__(self, config: HostMetricsConfig, context: SourceContext, worker: Worker) -> None:
        self._config = config
        self._context = context
        self._worker = worker
        names = TopicSource(place=context.name, source=context.name, host=context.host)
        self._topic = ReceivedTopic(config.topic, names).of({})
        self._form = FORMS[config.format]
        self._reporting = Reporting(config)
        self._stopped = asyncio.Event()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: HostMetricsConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start the thread that takes samples."""
        worker = Worker(f"metrics {context.name}")
        try:
            yield cls(config, context, worker)
        finally:
            await worker.close(patience=1.0)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield each sample that is to be published.

        Raises:
            Unavailable: the figures cannot be read.
        """
        # imports psutil, and only once it is needed
        from edgerouter.sources.host_metrics.sampler import Sampler  # noqa: PLC0415

        clock = asyncio.get_running_loop().time
        try:
            sampler = await self._worker.run(partial(Sampler, self._config, self._context.host))
            self._context.connected(True, "")
            due = clock() + min(_FIRST_SECONDS, self._config.interval)
            while not await self._stopped_by(due):
                if self._context.probe:
                    continue
                sample = await self._worker.run(sampler.sample)
                due = max(due + self._config.interval, clock())
                if (message := self._message(sample, clock())) is not None:
                    yield Delivery([message], _nothing)
        except (OSError, RuntimeError, NotImplementedError) as error:
            raise Unavailable(f"the figures of this machine cannot be read: {error}") from error

    def stop(self) -> None:
        self._stopped.set()

    async def _stopped_by(self, due: float) -> bool:
        """Wait until a time; return true if the source is stopped before it."""
        try:
            async with asyncio.timeout_at(None if self._context.probe else due):
                await self._stopped.wait()
        except TimeoutError:
            return False
        return True

    def _message(self, sample: Sample, now: float) -> Message | None:
        sample = msgspec.structs.replace(sample, above=self._reporting.above(sample))
        if not self._reporting.due(sample, now):
            return None
        return Message(self._topic, self._form(sample), time.time_ns(), 1, False, _PROPERTIES)


def _nothing() -> None:
    """Do nothing: no sender waits for an acknowledgement."""
