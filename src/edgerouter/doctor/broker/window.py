"""Measures the window that the broker really grants: the messages that it sends before any is acknowledged."""

from __future__ import annotations

from typing import Final

from edgerouter.doctor.broker.session import Session
from edgerouter.doctor.broker.target import SUBJECT, Target
from edgerouter.doctor.finding import Finding, finding

_MOST: Final = 2500
_BEYOND: Final = 200
"""Messages published beyond the offered window, so that one which is exceeded shows."""
_PAYLOAD: Final = b"edgerouter doctor: a message that is not acknowledged"
_QUIET: Final = 0.5
_NAME: Final = "window"


async def measure(target: Target, topic: str, publisher: Session) -> list[Finding]:
    """Publish to a subscriber that acknowledges nothing, and count what it gets.

    Raises:
        ConnectFailed: the broker is gone.
    """
    topic = f"{topic}/window"
    offered = min(target.config.receive_window, _MOST - _BEYOND)
    async with target.session(receive_maximum=offered if target.version5 else None) as session:
        refused = await session.subscribe(topic)
        if refused:
            return [finding(SUBJECT, _NAME, "unknown", f"the subscription is refused: {refused}")]
        taken = await publisher.publish(topic, _PAYLOAD, count=offered + _BEYOND)
        window = await session.arrive(taken, quiet=_QUIET)
        session.acknowledge(1)
        after = await session.arrive(taken, quiet=_QUIET)
        lost = session.lost
    if lost and not window:
        return [finding(SUBJECT, _NAME, "unknown", f"the connection ended: {lost}")]
    found = _of_version_5(offered, window) if target.version5 else _of_older(target.config.broker_window, window, taken)
    return [found, *_overrun(window, after - 1, taken)]


def _of_version_5(offered: int, window: int) -> Finding:
    if window >= offered:
        return finding(SUBJECT, _NAME, "ok", f"{window} unacknowledged messages, as offered")
    return finding(
        SUBJECT,
        _NAME,
        "warn",
        f"{window} unacknowledged messages, though the router offers {offered}: each window waits for one commit of the spool",
        "raise the broker's window, such as `max_inflight_messages 0` of mosquitto or `max_inflight` of EMQX",
    )


def _of_older(assumed: int, window: int, taken: int) -> Finding:
    if window >= taken:
        return finding(SUBJECT, _NAME, "ok", f"at least {window} unacknowledged messages")
    if window == assumed:
        return finding(SUBJECT, _NAME, "ok", f"{window} unacknowledged messages, as `broker_window` says")
    return finding(
        SUBJECT,
        _NAME,
        "warn",
        f"{window} unacknowledged messages; the configuration assumes {assumed}",
        f"set `broker_window: {window}` of the source, so that a full window is committed at once",
    )


def _overrun(window: int, outstanding: int, taken: int) -> list[Finding]:
    """Return a finding if one acknowledgement released more than one message."""
    if outstanding <= window or window >= taken:
        return []
    return [
        finding(
            SUBJECT,
            "window kept",
            "warn",
            f"after one acknowledgement {outstanding} messages were unacknowledged: the broker exceeds its window of {window}",
            "update the broker (mosquitto before 2.0.13 does this); the router bounds it by `max_unacknowledged`",
        )
    ]
