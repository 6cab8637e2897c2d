"""Measures retained messages, shared subscriptions, the largest packet, and the time of an acknowledgement."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack
from statistics import median
from typing import Final

from edgerouter.doctor.broker.session import LARGEST, Session
from edgerouter.doctor.broker.target import SUBJECT, Target
from edgerouter.doctor.finding import Finding, Verdict, finding

_QUIET: Final = 0.5
_SHARED: Final = 10
_SIZES: Final = (64 * 1024, 256 * 1024, 1024**2)
"""Payloads to try, smallest first; a broker that refuses one may hang up."""
_ROUNDS: Final = 20
_SLOW: Final = 0.5


async def retained(target: Target, topic: str, publisher: Session) -> list[Finding]:
    """Publish a retained message, subscribe, and take it back.

    Raises:
        ConnectFailed: the broker is gone.
    """
    name, topic, needed = "retained messages", f"{topic}/retained", target.config.status_topic is not None
    if not publisher.abilities.retain:
        verdict: Verdict = "warn" if needed else "ok"
        change = "remove `status_topic`, or use another broker" if needed else ""
        return [finding(SUBJECT, name, verdict, "the broker says that it keeps none", change)]
    try:
        await publisher.publish(topic, b"kept", retain=True, seconds=5)
        async with target.session(acknowledges=True) as session:
            await session.subscribe(topic)
            await session.arrive(1, quiet=_QUIET)
            replayed = any(message.retained for message in session.arrived)
    finally:
        await publisher.publish(topic, b"", retain=True, seconds=5)
    if replayed:
        return [finding(SUBJECT, name, "ok", "kept, and replayed to a new subscription with the flag set")]
    return [finding(SUBJECT, name, "warn" if needed else "ok", "a new subscription gets none, or without the flag")]


async def shared(target: Target, topic: str, publisher: Session) -> list[Finding]:
    """Let two subscribers share a subscription, and see that each message reaches one of them.

    Raises:
        ConnectFailed: the broker is gone.
    """
    name, used = "shared subscriptions", target.config.shares
    if not publisher.abilities.shared:
        return [_unshared(name, "the broker says that it has none", used=used)]
    async with AsyncExitStack() as stack:
        members = [await stack.enter_async_context(target.session(acknowledges=True)) for _ in range(2)]
        for member in members:
            if refused := await member.subscribe(f"$share/edgerouter-doctor/{topic}/shared"):
                return [_unshared(name, f"the subscription is refused: {refused}", used=used)]
        await publisher.publish(f"{topic}/shared", b"shared", count=_SHARED)
        counts = [await member.arrive(_SHARED, quiet=_QUIET) for member in members]
    if sum(counts) == _SHARED:
        return [finding(SUBJECT, name, "ok", f"{_SHARED} messages went to two subscribers, {counts[0]} and {counts[1]}")]
    if topic.startswith("$") and not any(counts):
        return [_hidden(name, stated=target.version5, used=used)]
    return [_unshared(name, f"of {_SHARED} messages, two subscribers got {counts[0]} and {counts[1]}", used=used)]


def _hidden(name: str, *, stated: bool, used: bool) -> Finding:
    """Return the finding for a broker, such as mosquitto, that shares no topic which begins with `$`."""
    reason = "not measured, because the broker shares no topic that begins with $"
    if stated:
        return finding(SUBJECT, name, "ok", f"the broker states that it has them; {reason}")
    change = "name a topic by `--topic` that nothing subscribes to" if used else ""
    return finding(SUBJECT, name, "unknown" if used else "ok", reason, change)


def _unshared(name: str, evidence: str, *, used: bool) -> Finding:
    if used:
        return finding(SUBJECT, name, "fail", evidence, "remove `share` and run one router, or use another broker")
    return finding(SUBJECT, name, "ok", f"{evidence}; the configuration uses none")


async def packet_size(target: Target, topic: str, publisher: Session) -> list[Finding]:
    """Publish larger and larger messages until one does not arrive.

    Raises:
        ConnectFailed: the broker is gone.
    """
    name, topic = "packet size", f"{topic}/size"
    stated = publisher.abilities.maximum_packet_size
    most = min(stated, LARGEST) - len(topic) - 64
    passed = 0
    for size in dict.fromkeys(min(size, most) for size in _SIZES):
        if size <= 0 or not await _passes(target, topic, size):
            break
        passed = size
    known = f"{passed} bytes of payload pass; the broker states a Maximum Packet Size of {stated} bytes"
    if not target.version5:
        known = f"{passed} bytes of payload pass; MQTT 3.1.1 states no bound"
    if passed >= min(_SIZES[-1], most):
        return [finding(SUBJECT, name, "ok", known)]
    return [
        finding(
            SUBJECT,
            name,
            "warn",
            f"{known}, and a larger one of the sizes {', '.join(map(str, _SIZES))} did not arrive",
            "raise the broker's limit (`message_size_limit`, `max_packet_size`), if devices send larger messages",
        )
    ]


async def _passes(target: Target, topic: str, size: int) -> bool:
    async with target.session(acknowledges=True) as session:
        if await session.subscribe(topic):
            return False
        await session.publish(topic, bytes(size), seconds=10)
        await session.arrive(1, quiet=3.0)
        return any(message.size == size for message in session.arrived)


async def latency(_: Target, topic: str, publisher: Session) -> list[Finding]:
    """Publish one message after another, and time their acknowledgements."""
    times = []
    for _round in range(_ROUNDS):
        began = time.monotonic()
        if not await publisher.publish(f"{topic}/time", b"time", seconds=5):
            break
        times.append(time.monotonic() - began)
    if not times:
        return [finding(SUBJECT, "acknowledgement", "unknown", "the broker acknowledged no message within 5 s")]
    middle, longest = median(times), max(times)
    text = f"after {middle * 1000:.1f} ms (median of {len(times)}), {longest * 1000:.1f} ms at most"
    if middle < _SLOW:
        return [finding(SUBJECT, "acknowledgement", "ok", text)]
    return [finding(SUBJECT, "acknowledgement", "warn", text, "look at the network and the load of the broker")]
