"""`edgerouter run`: the router, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import structlog

from edgerouter.admin.health import summary
from edgerouter.app import Router
from edgerouter.cli.descriptors import raise_limit
from edgerouter.cli.loading import load
from edgerouter.cli.watch import watch
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.checks.folders import sink_folder_faults
from edgerouter.config.checks.loops import loop_faults
from edgerouter.config.file_search import Fingerprint, fingerprint
from edgerouter.config.last_known import LastKnown, open_last_known
from edgerouter.config.model import RouterConfig
from edgerouter.errors import ConfigurationError, SpoolUnusable
from edgerouter.logs.setup import configure
from edgerouter.memory import exempt_from_collection, give_back, share_one_arena
from edgerouter.tasks.bounded import CLOSING_SECONDS
from edgerouter.telemetry.service_manager import Reports, ServiceManager

log = structlog.get_logger("edgerouter.run")


Load = Callable[[], RouterConfig]

ASKING_SECONDS = 10.0
"""Time for the secret stores to say which sinks are on, before the router starts without knowing."""
_STARTED = 5.0
"""Seconds after which the start has left behind all that it needed only once."""
_MOST_THREADS = 64
"""For short blocking calls of all parts; they start when they are needed."""


def run_file(file: Path | None) -> None:
    """Run the router with the configuration that the user means.

    Args:
        file: the option `-c`.

    Raises:
        ConfigurationError: the configuration, or what it names, cannot be used.
    """
    cloud = CloudBlock(os.environ)
    latest: RouterConfig | None = None

    def load_again() -> RouterConfig:
        nonlocal latest
        latest = load(file, cloud)
        return latest

    try:
        run(load_again, cloud)
    except (ConfigurationError, SpoolUnusable) as error:
        # what is only found by trying: a folder, a port
        if latest is None:
            raise
        raise ConfigurationError(*(latest.located(line) for line in str(error).splitlines())) from error


def run(load: Load, cloud: CloudBlock) -> None:
    """Run the router until a signal asks it to stop; a second signal stops it without draining.

    Args:
        load: reads and validates the configuration; called at the start, and again when the file has changed or SIGHUP came.
        cloud: the environment that `load` reads where there is no file.

    Raises:
        ConfigurationError: the configuration cannot be used.
        SpoolUnusable: the spool's folder cannot be used.
    """
    raise_limit()
    config = load()
    seen = fingerprint(config.file)
    if faults := [*sink_folder_faults(config, lasting_only=True), *loop_faults(config)]:
        raise ConfigurationError(*faults)
    configure(config.log)
    last_known = open_last_known(config.secrets, config.spool.path)
    run_loop(_run(config, seen, load, cloud, last_known))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop where it is installed (it costs 15 to 30 % less CPU), else on asyncio's loop."""
    try:
        import uvloop  # noqa: PLC0415  (not on every platform)
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)


async def _run(config: RouterConfig, seen: Fingerprint | None, load: Load, cloud: CloudBlock, last_known: LastKnown) -> None:
    loop = asyncio.get_running_loop()
    giving_back = loop.call_later(_STARTED, loop.run_in_executor, None, give_back)
    stop, hang_up, drain = asyncio.Event(), asyncio.Event(), asyncio.Event()
    task = asyncio.current_task()
    assert task is not None

    signals: set[signal.Signals] = set()

    def on_signal(number: signal.Signals) -> None:
        if signals:
            log.warning("second signal, stopping without draining", signal=number.name)
            task.cancel()
            return
        signals.add(number)
        log.info("signal received", signal=number.name)
        stop.set()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal, number)
    # of the five or six threads by default, one plugin whose calls hang would soon hold all, and no certificate could be read
    loop.set_default_executor(ThreadPoolExecutor(_MOST_THREADS, thread_name_prefix="edgerouter"))
    loop.add_signal_handler(signal.SIGHUP, hang_up.set)  # from the beginning, or a hang-up meanwhile would end the process
    loop.add_signal_handler(signal.SIGUSR1, drain.set)
    config = await _decided(config, load, cloud, last_known, stop)
    if stop.is_set():
        # nothing is open yet, and nothing was taken in
        log.info("edgerouter stopped")
        _end_anyway()
        return
    for line in config.off:
        log.error("left out", reason=line)
    for line in config.unread:
        log.warning("environment variable not read", reason=line)
    exempt_from_collection()  # every plugin is imported; what a reload replaces is made by the router
    if any(not member.plugin.__module__.startswith("edgerouter.") for _, member in config.members()):
        share_one_arena()  # an SDK's imports in threads would leave an arena to each
    router = Router(config, last_known, _announcing(load, config.off))
    draining = asyncio.create_task(_drain(router, drain), name="wait for a request to drain")
    manager = ServiceManager()
    reports = Reports(manager, running=router.running, stop=stop, beat=router.beat, summary=lambda: summary(router.status()))
    reporting = asyncio.create_task(reports.run(), name="report to the service manager")
    reloading = asyncio.create_task(_reload(router, config.file, seen, hang_up), name="watch configuration")
    asking = asyncio.create_task(cloud.keep_asking(last_known, hang_up.set), name="ask secret stores")
    try:
        await router.run(stop)
    except asyncio.CancelledError:
        if not stop.is_set():
            raise
    finally:
        giving_back.cancel()  # the executor may end before the time has come
        draining.cancel()
        reporting.cancel()
        reloading.cancel()
        asking.cancel()
    _end_anyway()


async def _drain(router: Router, drain: asyncio.Event) -> None:
    """Drain when SIGUSR1 asks for it, as `edgerouter drain` does."""
    await drain.wait()
    await router.running.wait()
    await router.steering.drain()


def _end_anyway() -> None:
    """See that the process ends, whatever a plugin has left running: a thread, or a task that goes on when it is cancelled.

    Everything of ours is closed by now.
    """

    def end() -> None:
        log.error("a plugin keeps the process from ending; it ends with exit code 1 without waiting", holding=_still_running())
        sys.stderr.flush()
        os._exit(1)  # 0 would say that everything was closed

    timer = threading.Timer(CLOSING_SECONDS, end)
    timer.daemon = True
    timer.start()


def _still_running() -> list[str]:
    """Names of the threads that keep the process from ending."""
    return [thread.name for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]


def _announcing(load: Load, off: Iterable[str]) -> Load:
    """Return a function that loads, and logs what has not been left out before."""
    known_off = set(off)

    def announce() -> RouterConfig:
        config = load()
        for line in set(config.off) - known_off:
            log.error("left out", reason=line)
        known_off.update(config.off)
        return config

    return announce


async def _reload(router: Router, file: Path | None, seen: Fingerprint | None, hang_up: asyncio.Event) -> None:
    async def changed() -> None:
        with suppress(ConfigurationError):  # the router has logged it
            await router.reload_file()

    await router.running.wait()
    await watch(file, seen, hang_up, changed)


async def _decided(config: RouterConfig, load: Load, cloud: CloudBlock, last_known: LastKnown, stop: asyncio.Event) -> RouterConfig:
    """Return the configuration with what the secret stores say at once; the same one where nothing is undecided, or on a stop."""
    if not cloud.undecided:
        return config
    asking = asyncio.create_task(cloud.ask(last_known), name="ask secret stores")
    stopping = asyncio.create_task(stop.wait(), name="wait for a stop")
    try:
        await asyncio.wait((asking, stopping), timeout=ASKING_SECONDS, return_when=asyncio.FIRST_COMPLETED)
    finally:
        stopping.cancel()
        asking.cancel()
    if stop.is_set():
        return config
    reason = f"no answer in {ASKING_SECONDS:g} s"
    if asking.done():
        try:
            reason = asking.result()
        except Exception as error:
            log.exception("the secret stores could not be asked")
            reason = type(error).__name__
    if reason:
        log.warning("the secret stores do not say yet which sinks are on; they are asked again", reason=reason)
    return await asyncio.to_thread(load)
