"""`edgerouter run`: the router, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from edgerouter.app import Router
from edgerouter.cli.watch import watch
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError
from edgerouter.telemetry.logs import configure

log = structlog.get_logger("edgerouter.run")


Load = Callable[[], RouterConfig]


def run(load: Load) -> None:
    """Run the router until a signal asks it to stop; a second signal stops it without draining.

    Args:
        load: reads and validates the configuration; called at the start, and again when the file has changed or SIGHUP came.

    Raises:
        ConfigurationError: the configuration cannot be used.
        SpoolUnusable: the spool's folder cannot be used.
    """
    config = load()
    configure(config.log)
    run_loop(_run(config, load))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed (it costs 15 to 30 % less CPU), else on asyncio's loop."""
    try:
        import uvloop  # noqa: PLC0415  (not on every platform)
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _run(config: RouterConfig, load: Load) -> None:
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
    router = Router(config)
    reloading = asyncio.create_task(_reload(router, config, load), name="watch configuration")
    try:
        await router.run(stop)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        reloading.cancel()


async def _reload(router: Router, config: RouterConfig, load: Load) -> None:
    async def changed() -> None:
        try:
            new = await asyncio.to_thread(load)
        except ConfigurationError as error:
            router.refuse(error)
        else:
            await router.reload(new)

    await router.running.wait()
    await watch(config.file, changed)
