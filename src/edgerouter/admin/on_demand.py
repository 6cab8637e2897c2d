"""Parts of the admin server that are imported on demand: the metrics with the first scrape, the server with the first caller.

A web server, the API and the dashboard take a sixth of the router's memory and a third of its start. The Unix socket listens from
the start; the kernel keeps its callers until the server is imported, in a thread, and accepts them.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, ExitStack, asynccontextmanager, closing, contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from edgerouter.admin.listen import unix_listener
from edgerouter.admin.running import RunningRouter
from edgerouter.admin.status import RouterStatus
from edgerouter.config.model import SpoolSection
from edgerouter.errors import SpoolUnusable
from edgerouter.memory import exempt_from_collection, give_back
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.spool.folder import locked_folder

if TYPE_CHECKING:
    from edgerouter.admin.metrics import Metrics

log = structlog.get_logger("edgerouter.app")

Served = Callable[[RunningRouter, "Callable[[], Metrics]", socket.socket | None], AbstractAsyncContextManager[None]]
"""Type of `site.served`."""


def make_metrics(
    status: Callable[[], RouterStatus], deliveries: Callable[[], Iterable[tuple[str, DeliveryStatus]]]
) -> Callable[[], Metrics]:
    """Return a function that makes the metrics with its first call: few boxes are scraped, and what that imports takes memory."""

    @cache
    def made() -> Metrics:
        from edgerouter.admin.metrics import Metrics  # noqa: PLC0415

        return Metrics(status, deliveries)

    return made


@contextmanager
def control_folder(spool: SpoolSection) -> Iterator[Path | None]:
    """Yield the folder of the control socket; `None` where a volatile spool, which needs its folder for nothing else, has none."""
    with ExitStack() as stack:
        folder: Path | None = spool.path
        if spool.type == "memory":
            try:
                stack.enter_context(locked_folder(spool.path))
            except SpoolUnusable as error:
                log.warning("there is no control socket, so `edgerouter status` does not find this router", reason=str(error))
                folder = None
        yield folder


@asynccontextmanager
async def control_interface(router: RunningRouter, metrics: Callable[[], Metrics], folder: Path | None) -> AsyncIterator[None]:
    """Serve the control interface until left: over TCP from the start, on the Unix socket alone from the first caller on.

    Args:
        router: answers.
        metrics: returns those of the router.
        folder: folder of the Unix socket; `None` = there is none.

    Raises:
        ConfigurationError: `admin.listen`, `admin.tls` or a file of `admin.tokens` cannot be used.
    """
    async with AsyncExitStack() as stack:
        control = None if folder is None else stack.enter_context(closing(unix_listener(folder)))
        if router.config.admin.listen is not None:
            # a wrong address, certificate or token ends the start
            served = await asyncio.to_thread(_import_site)
            await stack.enter_async_context(served(router, metrics, control))
        elif control is not None:
            await stack.enter_async_context(_served_from_first_caller(router, metrics, control))
        yield


@asynccontextmanager
async def _served_from_first_caller(
    router: RunningRouter, metrics: Callable[[], Metrics], control: socket.socket
) -> AsyncIterator[None]:
    async def serve() -> None:
        await _first_caller(control)
        try:
            served = await asyncio.to_thread(_import_site)
            exempt_from_collection()  # as what was imported at the start
            async with served(router, metrics, control):
                await asyncio.Event().wait()
        except Exception:
            log.exception("the control interface cannot be served; messages are routed without it")
            control.close()  # callers are refused, instead of waiting

    serving = asyncio.create_task(serve(), name="serve the control interface")
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.wait([serving])


async def _first_caller(listener: socket.socket) -> None:
    """Return when a connection waits to be accepted."""
    loop = asyncio.get_running_loop()
    called = asyncio.Event()
    loop.add_reader(listener, called.set)
    try:
        await called.wait()
    finally:
        loop.remove_reader(listener)


def _import_site() -> Served:
    from edgerouter.admin.site import served  # noqa: PLC0415

    give_back()  # an import leaves some megabytes
    return served
