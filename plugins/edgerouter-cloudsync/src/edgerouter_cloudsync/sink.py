"""The sink `cloudsync`: publishes each message to the broker that its request names, and reports to the source."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager
from typing import Final, Literal, Self

from pydantic import Field
from structlog import get_logger

from edgerouter import (
    Duration,
    Failure,
    Message,
    Outcome,
    Rejected,
    Sink,
    SinkConfig,
    SinkContext,
    Unauthorized,
    Unavailable,
)
from edgerouter.mqtt import BrokerSettings, Link, Policy, Publication, Publisher, message_properties, outcome
from edgerouter_cloudsync.brokers import BrokersConfig
from edgerouter_cloudsync.names import request_of, taken_apart
from edgerouter_cloudsync.pool import Pool
from edgerouter_cloudsync.progress import Delivered, Refused, progress_of

log = get_logger("edgerouter.cloudsync")

_OVERHEAD: Final = 64
"""Bytes that a packet has beside topic, payload and id, at most."""


class CloudSyncSinkConfig(BrokersConfig, SinkConfig):
    """Publishes what came over CloudSync's API to the broker that each request names.

    Set `topics: ["$cloudsync/#"]`, and `concurrency` to the number of brokers of which none may wait for another.
    """

    qos: Literal[0, 1, 2] = 1
    """Quality of service; CloudSync used 0. With 0 no broker confirms anything, and a lost connection loses what was in flight."""
    retain: bool = False
    """Publish messages as retained, as CloudSync did: each broker then keeps the last message of every topic."""
    id_property: str | None = Field(default="edgerouter-id", examples=["message-id"])
    """User property that carries the message's id, so that consumers can deduplicate (MQTT 5)."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; `auto` tries 5 and falls back to 3.1.1 if the broker refuses it."""
    max_inflight: int = Field(default=100, ge=1, le=65_535)
    """Most messages in flight to one broker."""
    idle_close: Duration = Field(default=300.0, ge=1, le=86_400)
    """Time without a message after which the connection to a broker is closed."""
    max_connections: int = Field(default=100, ge=1, le=1000)
    """Most connections at once; beyond it the one that is unused for longest is closed."""


class CloudSyncSink(Sink[CloudSyncSinkConfig]):
    """One connection and one order key for each broker, so that none waits for another."""

    def __init__(self, config: CloudSyncSinkConfig, context: SinkContext) -> None:
        self._config = config
        self._context = context
        self._progress = progress_of(context.spool)
        self._pool = Pool(self._publisher, self._progress.release, config.idle_close, config.max_connections)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: CloudSyncSinkConfig, context: SinkContext) -> AsyncIterator[Self]:
        sink = cls(config, context)
        if context.probe:
            await sink._look()
        for name, broker in (config.brokers or {}).items():
            if broker is not None:
                broker.warn_of_weak_points(log.bind(sink=context.name), f"sink {context.name}, broker {name}")
        closing = asyncio.create_task(sink._pool.run(sink._progress.tidy), name=f"{context.name}: close unused connections")
        try:
            yield sink
        finally:
            closing.cancel()
            await asyncio.wait((closing,))
            await sink._pool.close()

    async def _look(self) -> None:
        """Connect to every listed broker, and raise with all reasons where one does not let us in."""

        async def reason(broker: str) -> Unavailable | None:
            try:
                settings = self._config.settings_of(broker)
                assert settings is not None, "it is listed"
                async with self._pool.link(broker, settings):
                    return None
            except Unavailable as error:
                return error

        try:
            found = await asyncio.gather(*map(reason, self._config.brokers or ()))
        finally:
            await self._pool.close()
        errors = [error for error in found if error is not None]
        if errors:
            kind = Unauthorized if any(isinstance(error, Unauthorized) for error in errors) else Unavailable
            raise kind("; ".join(map(str, errors)))

    def size_of(self, message: Message) -> int:
        return _OVERHEAD + len(message.topic.encode(errors="replace")) + len(message.payload) + len(message.id)

    def partition_of(self, message: Message) -> Hashable:
        found = taken_apart(message.topic)
        return found[0] if found is not None else None

    def order_of(self, message: Message) -> Hashable:
        found = taken_apart(message.topic)
        if found is None:
            return None
        return self._progress.note(
            request_of(message), found[0], len(message.payload) + len(message.topic.encode(errors="replace"))
        )

    async def write(self, batch: Sequence[Message]) -> Outcome:
        broker, settings = self._destination(batch[0])
        requests = [request_of(message) for message in batch]
        self._progress.started(broker, requests[0])
        try:
            async with self._pool.link(broker, settings) as link:
                found = await self._publish(link, batch, str(settings.address))
        except Unavailable as error:
            self._progress.fails(broker, str(error))
            raise self._of_one_broker(error) from None
        except asyncio.CancelledError:
            self._progress.fails(broker, f"{settings.address} does not answer")
            raise
        return self._report(broker, requests, found)

    def _destination(self, message: Message) -> tuple[str, BrokerSettings]:
        found = taken_apart(message.topic)
        if found is None:
            raise Rejected(
                "the topic names no broker: this sink takes `$cloudsync/BROKER/TOPIC`, as the source `cloudsync` sends it"
            )
        settings = self._config.settings_of(found[0])
        if settings is None:
            reason = f"the broker {found[0]!r} is not in `brokers` of this sink"
            self._progress.settled(found[0], request_of(message), Refused(reason))
            raise Rejected(reason)
        return found[0], settings

    async def _publish(self, link: Link, batch: Sequence[Message], where: str) -> Outcome:
        failures: list[Failure] = []
        publications: list[Publication] = []
        places: list[int] = []
        for place, message in enumerate(batch):
            if (size := self.size_of(message)) > link.largest_packet:
                failures.append(Failure(place, Rejected(f"{where} takes {link.largest_packet} bytes, the message has {size}")))
                continue
            publications.append(self._publication(message, link))
            places.append(place)
        results = await link.publish(publications) if publications else ()
        found = outcome(results, publications, places, where, failures)
        return Outcome([_of_one_message(failure) for failure in found.failed], found.untried)

    def _publication(self, message: Message, link: Link) -> Publication:
        found = taken_apart(message.topic)
        assert found is not None, "a batch is of one broker"
        properties = b""
        if link.version5:
            # consumers get the id, and nothing of the request
            plain = Message(message.topic, message.payload, 0, spool=message.spool, sequence=message.sequence)
            properties = message_properties(plain, self._config.id_property)
        return Publication(found[1], message.payload, self._config.retain, properties, message.id)

    def _report(self, broker: str, requests: Sequence[str], found: Outcome) -> Outcome:
        """Report to the source, and return the outcome."""
        progress = self._progress
        failed = {failure.index: failure for failure in found.failed}
        left = set(found.untried)
        waits = ""
        for place, request in enumerate(requests):
            failure = failed.get(place)
            if failure is not None and not isinstance(failure.error, Rejected):
                waits = str(failure.error)
            elif place not in left:
                progress.settled(broker, request, Refused(str(failure.error)) if failure is not None else Delivered())
        if waits:
            progress.fails(broker, waits)
        else:
            progress.works(broker)
        return found

    def _of_one_broker(self, error: Unavailable) -> Unavailable:
        """Return the error for the router: for `Unauthorized` it would open the whole sink anew, which cuts all other brokers."""
        if isinstance(error, Unauthorized) and len(self._pool) > 1:
            return Unavailable(str(error), retry_after=error.retry_after)
        return error

    def _publisher(self, broker: str, settings: BrokerSettings) -> Publisher:
        config, context = self._config, self._context
        client_id = f"edgerouter-{context.spool[:12]}-{context.name}-{secrets.token_hex(3)}"
        policy = Policy(client_id, config.qos, config.max_inflight, retains=config.retain)
        return Publisher(settings, policy, config.protocol, f"{context.name} {broker}")


def _of_one_message(failure: Failure) -> Failure:
    """Return the failure, as `Rejected` where the broker has let us in and refuses this topic: a retry would not mend it."""
    if isinstance(failure.error, Unauthorized) and not failure.may_have_arrived:
        return Failure(failure.index, Rejected(str(failure.error)))
    return failure
