"""The MQTT source: one permanent session at a broker; messages are acknowledged once they are stored."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

import structlog

from edgerouter.errors import Unavailable
from edgerouter.source import Delivery, Source, SourceContext
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.in_flight import InFlight
from edgerouter.sources.mqtt.kept import Kept
from edgerouter.sources.mqtt.probe import configure_probe
from edgerouter.sources.mqtt.session import Session

log = structlog.get_logger("edgerouter.mqtt")


class MqttSource(Source[MqttSourceConfig]):
    """Receives messages from an MQTT broker.

    A task keeps the session alive and receives messages; `deliveries` passes them on. So the connection is served even while the
    router does not request messages.
    """

    def __init__(self, in_flight: InFlight, session: Session, task: asyncio.Task[None]) -> None:
        self.in_flight = in_flight
        self.session = session
        self._task = task

    @classmethod
    @asynccontextmanager
    async def open(cls, config: MqttSourceConfig, context: SourceContext) -> AsyncIterator[Self]:
        """Start to connect; leaving disconnects, and the broker keeps the session."""
        client_id = config.client_id or f"edgerouter-{(context.identity or context.spool)[:12]}-{context.name}"
        if context.probe:
            # a probe must neither leave a session behind, nor take over that of a running router
            client_id += "-check"
            config = configure_probe(config)
        bound = log.bind(source=context.name)
        config.warn_of_weak_points(bound, f"source {context.name}")
        broker = str(config.address)
        kept = await Kept.read(context.state, broker, client_id, config.retained, bound)
        limits = await asyncio.to_thread(lambda: config.limits)
        in_flight = InFlight(
            max_messages=config.max_unacknowledged,
            max_bytes=config.max_unacknowledged_bytes,
            max_qos0_bytes=config.max_pending_bytes,
            max_unconfirmed=None if config.clean_session else config.max_unconfirmed,
            dropped=context.dropped,
            source=context.name,
        )
        session = Session(config, context, limits=limits, kept=kept, in_flight=in_flight, log=bound.bind(broker=broker))
        task = asyncio.create_task(session.serve(), name=f"mqtt source {context.name}")
        task.add_done_callback(lambda _: in_flight.arrived.set())
        try:
            yield cls(in_flight, session, task)
        finally:
            in_flight.stop()
            session.stop()
            await _finish(task)
            await kept.save()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        """Yield everything received since the last delivery as one delivery, whenever there is something.

        Raises:
            Unavailable: a probe was refused; or the task that serves the connection ended, which is a bug.
        """
        in_flight, session = self.in_flight, self.session
        while True:
            while (delivery := in_flight.take(session.duplicates)) is not None:
                session.silence.heard()
                yield delivery
            if in_flight.stopped:
                return
            if session.refused is not None:
                raise Unavailable(session.refused)
            if self._task.done():
                error = None if self._task.cancelled() else self._task.exception()
                raise Unavailable(f"the MQTT connection's task ended: {type(error).__name__}") from error
            await in_flight.arrived.wait()

    @property
    def repeated(self) -> int:
        return self.session.redelivery.recognised

    @property
    def oldest_unacknowledged_seconds(self) -> float:
        return self.in_flight.age

    @property
    def fence_age_seconds(self) -> float:
        return self.in_flight.unconfirmed.age

    def stop(self) -> None:
        """Accept no more messages; the connection stays open for the acknowledgements, and the broker keeps the rest."""
        self.in_flight.stop()


async def _finish(task: asyncio.Task[None]) -> None:
    """Wait for the task, which ends by itself: a connect that is cancelled continues in its thread."""
    await asyncio.wait((task,))
    if not task.cancelled() and (error := task.exception()) is not None:
        log.error("the task that serves a connection failed", exc_info=error)
