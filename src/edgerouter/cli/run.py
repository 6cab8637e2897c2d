"""`edgerouter run`: the router, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Coroutine
from typing import Any

import structlog

from edgerouter.app import Router
from edgerouter.config.model import RouterConfig
from edgerouter.telemetry.logs import configure

log = structlog.get_logger("edgerouter.run")


def run(config: RouterConfig) -> None:
    """Run the router until a signal asks it to stop; a second signal stops it without draining.

    Raises:
        SpoolUnusable: the spool's folder cannot be used.
    """
    configure(config.log)
    run_loop(_run(config))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed (it costs 15 to 30 % less CPU), else on asyncio's loop."""
    try:
        import uvloop  # noqa: PLC0415  (not on every platform)
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _run(config: RouterConfig) -> None:
    loop = asyncio.get_running_loop()
    stop = asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            log.warning("second signal, stopping without draining", signal=number.name)
            task.cancel()
            return
        log.info("signal received", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    try:
        await Router(config).run(stop)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
