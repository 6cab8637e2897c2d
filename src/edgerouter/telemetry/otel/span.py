"""The span of a write, by OpenTelemetry's semantic conventions for messaging, with links to the traces of its messages."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import islice
from typing import Final

from opentelemetry.trace import Link, Span, SpanContext, SpanKind, Status, StatusCode, TraceFlags, Tracer, TraceState

from edgerouter.message import Message
from edgerouter.telemetry.spans import Write
from edgerouter.telemetry.trace_context import TraceContext, trace_context

MOST_LINKS: Final = 32
"""Links of a span."""
_LOOKED_AT: Final = 100
"""Messages of a batch whose properties are read for them."""
_SYSTEMS: Final = {
    "aws-sqs": "aws_sqs",
    "azure-event-hubs": "eventhubs",
    "gcp-pubsub": "gcp_pubsub",
    "mqtt": "mqtt",
    "nats": "nats",
}
"""Values of `messaging.system` that the conventions name; others are named after the type of the sink."""


def start_span(tracer: Tracer, write: Write) -> Span:
    """Return the span of a write, not ended yet."""
    attributes: dict[str, str | int] = {
        "messaging.system": _SYSTEMS.get(write.type, write.type.replace("-", "_")),
        "messaging.operation.type": "send",
        "messaging.operation.name": "write",
        "messaging.destination.name": write.sink,
        "messaging.batch.message_count": len(write.messages),
        "edgerouter.batch.bytes": write.size,
        "edgerouter.first_message.id": write.messages[0].id,
    }
    span = tracer.start_span(
        f"write {write.sink}",
        context=None,
        kind=SpanKind.PRODUCER,
        attributes=attributes,
        links=links(write.messages),
        start_time=write.began,
        set_status_on_exception=False,
    )
    if write.error:
        span.set_attribute("error.type", write.error)
        span.set_status(Status(StatusCode.ERROR))
    return span


def links(messages: Sequence[Message]) -> list[Link]:
    """Return a link to each trace that the first messages belong to."""
    found: dict[tuple[int, int], TraceContext] = {}
    for message in islice(messages, _LOOKED_AT):
        context = trace_context(message)
        if context is not None:
            found.setdefault((context.trace_id, context.span_id), context)
            if len(found) == MOST_LINKS:
                break
    return [Link(_span_context(context)) for context in found.values()]


def _span_context(context: TraceContext) -> SpanContext:
    state = TraceState.from_header([context.tracestate]) if context.tracestate else None
    return SpanContext(
        context.trace_id, context.span_id, is_remote=True, trace_flags=TraceFlags(context.flags & 1), trace_state=state
    )
