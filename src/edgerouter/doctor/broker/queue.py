"""Measures the queue that the broker keeps for a session while its client is away."""

from __future__ import annotations

from contextlib import suppress
from typing import Final

from edgerouter.doctor.broker.session import Session, new_client_id
from edgerouter.doctor.broker.target import SUBJECT, Target
from edgerouter.doctor.finding import Finding, finding
from edgerouter.mqtt.calls import ConnectFailed

MESSAGES: Final = 3000
"""Messages to publish: more than the queue of the usual brokers by default."""
_PAYLOAD: Final = b"edgerouter doctor: a message to be kept while its receiver is away"
_QUIET: Final = 0.7
_REFUSED: Final = 0x80


async def measure(target: Target, topic: str, publisher: Session) -> list[Finding]:
    """Publish to a session whose client is away until messages are dropped, and count what it gets.

    Raises:
        ConnectFailed: the broker is gone.
    """
    client_id, topic = new_client_id(), f"{topic}/queue"
    try:
        async with target.session(client_id=client_id, keep=True) as session:
            refused = await session.subscribe(topic)
        if refused:
            return [finding(SUBJECT, "queue", "unknown", f"the subscription is refused: {refused}")]
        before = publisher.codes.copy()
        taken = await publisher.publish(topic, _PAYLOAD, count=MESSAGES)
        codes = publisher.codes - before
        declined = sum(count for code, count in codes.items() if code >= _REFUSED)
        async with target.session(client_id=client_id, keep=True, acknowledges=True) as session:
            kept = session.connection.session_present
            arrived = await session.arrive(taken - declined, quiet=_QUIET)
    finally:
        # also when the user has ended the program; its broker may be gone by then
        with suppress(ConnectFailed):
            await target.forget(client_id)
    return [_session(kept=kept), _queue(taken, declined, arrived)] if kept else [_session(kept=kept)]


def _session(*, kept: bool) -> Finding:
    if kept:
        return finding(SUBJECT, "session", "ok", "kept while the client was away")
    return finding(
        SUBJECT,
        "session",
        "fail",
        "not kept: messages that come while the router is away are lost",
        "let the broker keep sessions (MQTT: clean start off, session expiry above 0)",
    )


def _queue(taken: int, declined: int, arrived: int) -> Finding:
    name = "queue"
    if taken == 0:
        return finding(SUBJECT, name, "unknown", "the broker acknowledged no message to a session whose client is away")
    if declined:
        return finding(
            SUBJECT,
            name,
            "warn",
            f"queue of {arrived} messages for a client that is away; beyond that the broker refuses messages, and devices learn it",
            "raise the broker's queue of a client so that it bridges a restart of the router",
        )
    if arrived < taken:
        return finding(
            SUBJECT,
            name,
            "warn",
            f"queue of {arrived} messages for a client that is away: of {taken} that the broker had acknowledged,"
            f" it dropped {taken - arrived} without a sign",
            "raise the broker's queue of a client: `max_queued_messages 0` with `max_queued_bytes` of mosquitto,"
            " `max_mqueue_len` of EMQX",
        )
    return finding(SUBJECT, name, "ok", f"queue of at least {arrived} messages for a client that is away")
