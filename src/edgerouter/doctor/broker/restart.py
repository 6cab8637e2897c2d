"""Finds out by a restart of the broker what it keeps over one: a queue, a session and a retained message."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from edgerouter.doctor.broker.session import new_client_id
from edgerouter.doctor.broker.target import SUBJECT, Target
from edgerouter.doctor.finding import Finding, finding
from edgerouter.mqtt.calls import ConnectFailed

MESSAGES: Final = 100
_PAYLOAD: Final = b"edgerouter doctor: kept over a restart?"
_QUIET: Final = 1.5
_AGAIN: Final = 0.5
_NAME: Final = "restart"

Ask = Callable[[str], None]
"""Shows the user a line."""


async def measure(target: Target, topic: str, *, ask: Ask, seconds: float) -> list[Finding]:
    """Store messages, wait until the broker was restarted, and count what is left.

    Args:
        target: the broker.
        topic: below which to publish.
        ask: asks the user for the restart.
        seconds: to wait for it.

    Raises:
        ConnectFailed: the broker is gone and does not return.
    """
    client_id, queue, kept = new_client_id(), f"{topic}/restart", f"{topic}/retained-over-restart"
    try:
        async with target.session(client_id=client_id, keep=True) as session:
            await session.subscribe(queue)
        async with target.session() as watcher:
            taken = await watcher.publish(queue, _PAYLOAD, count=MESSAGES)
            await watcher.publish(kept, _PAYLOAD, retain=True)
            ask(f"restart the broker {target.config.address} now, by a stop or by a power cut; waiting for {seconds:g} s")
            if not await _ends(watcher.connection.lost, seconds):
                return [finding(SUBJECT, _NAME, "unknown", f"the broker was not restarted within {seconds:g} s")]
        return await _counted(target, client_id, kept, taken, seconds)
    finally:
        await _clean(target, client_id, kept)


async def _ends(lost: asyncio.Future[tuple[str, int | None]], seconds: float) -> bool:
    await asyncio.wait((lost,), timeout=seconds)
    return lost.done()


async def _counted(target: Target, client_id: str, kept: str, taken: int, seconds: float) -> list[Finding]:
    await _answers(target, seconds)
    async with target.session(client_id=client_id, keep=True, acknowledges=True) as session:
        present = session.connection.session_present
        arrived = await session.arrive(taken, quiet=_QUIET)
    async with target.session(acknowledges=True) as session:
        await session.subscribe(kept)
        retained = bool(await session.arrive(1, quiet=_QUIET))
    survived = (
        f"after the restart: session {'kept' if present else 'lost'}, {arrived} of {taken} queued messages,"
        f" retained message {'kept' if retained else 'lost'}"
    )
    if present and arrived >= taken and retained:
        return [finding(SUBJECT, _NAME, "ok", survived)]
    return [
        finding(
            SUBJECT,
            _NAME,
            "warn",
            survived,
            "let the broker store its sessions: `persistence true` and `autosave_interval 60` of mosquitto; repeat the test with a"
            " power cut, which loses what is not saved yet",
        )
    ]


async def _answers(target: Target, seconds: float) -> None:
    """Wait until the broker lets clients in again."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            async with target.session():
                return
        except ConnectFailed:
            if time.monotonic() >= deadline:
                raise
            await asyncio.sleep(_AGAIN)


async def _clean(target: Target, client_id: str, kept: str) -> None:
    with suppress(ConnectFailed):
        await target.forget(client_id)
        async with target.session() as session:
            await session.publish(kept, b"", retain=True, seconds=2)
