"""Notifications to systemd, as sd_notify(3) describes them: ready, one line of status, stopping, and the watchdog's sign of life.

The watchdog is fed by the event loop, and only after the threads behind the spool have answered. A loop that is held and a database
thread that hangs both end the feeding, and systemd restarts the router: everything acknowledged is on disk.
"""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final

import structlog

from edgerouter.tasks.beat import until_beat

STATUS_SECONDS: Final = 5.0
"""Between two looks whether the status line has changed."""
START_SECONDS: Final = 60.0
"""Extension of the time to start, asked for while the start goes on: a large spool may need a repair."""
MOST_STATUS_CHARACTERS: Final = 500

log = structlog.get_logger("edgerouter.run")


class ServiceManager:
    """The socket of the service manager that started this process.

    Args:
        environment: holds `NOTIFY_SOCKET`, `WATCHDOG_USEC` and `WATCHDOG_PID`; without the first, nothing is sent.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        address = environment.get("NOTIFY_SOCKET", "")
        self._address = "\0" + address[1:] if address.startswith("@") else address
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) if address[:1] in ("@", "/") else None
        self.watchdog_seconds = _watchdog_seconds(environment) if self._socket is not None else None
        """Time after which systemd restarts a process without a sign of life; `None` = never."""

    @property
    def listens(self) -> bool:
        """True if notifications are wanted."""
        return self._socket is not None

    def notify(self, **values: str | int) -> None:
        """Send assignments such as `READY=1`. Never blocks; one that the manager cannot take now is lost."""
        if self._socket is not None:
            text = "\n".join(f"{name}={value}" for name, value in values.items())
            with suppress(OSError):
                self._socket.sendto(text.encode(errors="replace"), socket.MSG_DONTWAIT, self._address)

    def close(self) -> None:
        """Close the socket."""
        if self._socket is not None:
            self._socket.close()


def _watchdog_seconds(environment: Mapping[str, str]) -> float | None:
    """Return the watchdog's time if it is meant for this process, as sd_watchdog_enabled(3) decides it."""
    try:
        seconds = int(environment["WATCHDOG_USEC"]) / 1e6
        mine = int(environment.get("WATCHDOG_PID") or os.getpid()) == os.getpid()
    except (KeyError, ValueError):
        return None
    return seconds if mine and seconds > 0 else None


class Reports:
    """Reports the life of one router to the service manager.

    Args:
        manager: the service manager.
        running: set once the router has started.
        stop: set once it ends.
        beat: returns when the threads behind the spool have answered.
        summary: the state of the router in one line.
    """

    def __init__(
        self,
        manager: ServiceManager,
        *,
        running: asyncio.Event,
        stop: asyncio.Event,
        beat: Callable[[], Awaitable[None]],
        summary: Callable[[], str],
    ) -> None:
        self._manager = manager
        self._running, self._stop = running, stop
        self._beat, self._summary = beat, summary

    async def run(self) -> None:
        """Report until cancelled; at once where there is no manager."""
        if not self._manager.listens:
            return
        async with asyncio.TaskGroup() as tasks:
            starting = tasks.create_task(self._starting(), name="extend the time to start")
            await self._running.wait()
            starting.cancel()
            self._manager.notify(READY=1, STATUS=self._line())
            tasks.create_task(self._stopping(), name="report the stop")
            tasks.create_task(self._status(), name="report the status")
            if self._manager.watchdog_seconds is not None:
                tasks.create_task(self._feed(self._manager.watchdog_seconds), name="feed the watchdog")

    async def _starting(self) -> None:
        while True:
            self._manager.notify(EXTEND_TIMEOUT_USEC=int(START_SECONDS * 1e6))
            await asyncio.sleep(START_SECONDS / 4)

    async def _stopping(self) -> None:
        await self._stop.wait()
        self._manager.notify(STOPPING=1, STATUS="stopping: delivering what is pending")

    async def _status(self) -> None:
        sent = ""
        while not self._stop.is_set():
            if (line := self._line()) != sent:
                self._manager.notify(STATUS=line)
                sent = line
            await asyncio.sleep(until_beat(STATUS_SECONDS))

    def _line(self) -> str:
        try:
            return " ".join(self._summary().split())[:MOST_STATUS_CHARACTERS]
        except Exception:  # a fault of the text must not starve the watchdog
            log.exception("the state cannot be reported")
            return "running"

    async def _feed(self, seconds: float) -> None:
        """Feed the watchdog three times in its period."""
        while True:
            asked = time.monotonic()
            warning = asyncio.get_running_loop().call_later(seconds / 2, _warn, seconds)
            await self._beat()
            warning.cancel()
            self._manager.notify(WATCHDOG=1)
            await asyncio.sleep(max(0.0, asked + seconds / 3 - time.monotonic()))


def _warn(seconds: float) -> None:
    log.error(
        "the spool's thread does not answer; the watchdog is not fed until it does",
        watchdog_seconds=seconds,
        next="systemd restarts the router if this lasts; look at the disk",
    )
