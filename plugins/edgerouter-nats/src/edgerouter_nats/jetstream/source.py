"""Source `nats-jetstream`: messages of a stream, by a durable consumer."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from pydantic import Field

from edgerouter import Duration, Section, SourceContext
from edgerouter.receiving import LeaseConfig, LeaseService, LeaseSource
from edgerouter_nats.connection import connecting
from edgerouter_nats.core.source import SubjectFilter
from edgerouter_nats.incoming import Incoming
from edgerouter_nats.jetstream.consumer import Deliver, Wanted
from edgerouter_nats.jetstream.receiving import StreamService, closing
from edgerouter_nats.settings import NatsSettings


class ConsumerFields(Section):
    """Fields of the sources that receive through a durable consumer."""

    durable: str = Field(pattern=r"^[^\s.*>/\\]+$", examples=["edge-7"])
    """Name of the durable consumer, made where it is missing. Routers that share one share its messages; two that each want all of
    them have two."""
    ack_wait: Duration = Field(default=30.0, ge=1, le=3600)
    """Time after which the server sends a message again that was not acknowledged. Of a consumer that is there, its `ack_wait`
    is taken."""
    ordered: bool = True
    """After a connection was lost, wait up to `ack_wait` for the messages that were on their way, so that none overtakes them. Of
    routers that share a consumer, none can keep its order: say `false` there."""
    polls: int = Field(default=1, ge=1, le=100)
    """Requests at once while there is much to receive. More than one do not keep the order."""
    skip_own: bool = False
    """Leave out what this router itself has sent there."""


class JetStreamSourceConfig(ConsumerFields, NatsSettings, LeaseConfig):
    """Receives from a stream; a message is acknowledged once it is stored."""

    stream: str = Field(pattern=r"^[^\s.*>/\\]+$", examples=["TELEMETRY"])
    """Stream; it must exist."""
    subjects: tuple[SubjectFilter, ...] = Field(default=(), max_length=1000, examples=[["plant.>"]])
    """Subjects of the stream to receive, with the wildcards `*` and `>`; all by default. Only for a consumer that is made."""
    deliver: Deliver = "all"
    """Beginning of a consumer that is made: `all` that the stream holds, the `last_per_subject`, or what is `new`."""


class JetStreamSource(LeaseSource[JetStreamSourceConfig]):
    """Pulls messages in the stream's order, and recognises redelivered ones by their sequence."""

    @classmethod
    @asynccontextmanager
    async def connect(cls, config: JetStreamSourceConfig, context: SourceContext) -> AsyncIterator[LeaseService]:
        wanted = wanted_of(config, config.stream, config.subjects, config.deliver, config.max_unacknowledged)
        incoming = Incoming(config.topic, config.stream, context, qos=1, skip_own=config.skip_own)
        async with service(config, config, wanted, incoming, context) as open_service:
            yield open_service


def wanted_of(config: ConsumerFields, stream: str, subjects: tuple[str, ...], deliver: Deliver, max_unacknowledged: int) -> Wanted:
    """Return the consumer that a configuration describes."""
    # beside what is held, as many again may be on their way or wait for their acknowledgement
    return Wanted(stream, config.durable, subjects, deliver, config.ack_wait, 2 * max_unacknowledged)


@asynccontextmanager
async def service(
    config: ConsumerFields, settings: NatsSettings, wanted: Wanted, incoming: Incoming, context: SourceContext
) -> AsyncIterator[StreamService]:
    """Have the service of a source, and close it on exit."""
    async with connecting(settings, f"edgerouter {context.host} {context.name}") as connector:
        made = StreamService(
            connector,
            wanted,
            incoming,
            context,
            # a request for fewer bytes than the longest message has would never bring that one
            max_bytes=2 * settings.max_message_bytes,
            domain=settings.domain,
            ordered=config.ordered,
        )
        async with closing(made):
            yield made
