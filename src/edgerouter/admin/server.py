"""The control interface over HTTP: health, metrics and status for all clients, control on the Unix socket only."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Sequence
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager, suppress
from functools import cache, partial
from ipaddress import ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
import structlog
from aiohttp import web
from aiohttp.typedefs import Handler, Middleware

from edgerouter.admin.control import OPERATIONS
from edgerouter.admin.health import not_flowing, not_ready, paused
from edgerouter.admin.listen import unix_listener
from edgerouter.admin.status import RouterStatus
from edgerouter.admin.steer import STEERING
from edgerouter.admin.visitor import Reception
from edgerouter.config.model import SpoolSection
from edgerouter.errors import EdgerouterError, SpoolUnusable
from edgerouter.http_server.doorkeeper import quiet_logger
from edgerouter.http_server.listen import tcp_listener
from edgerouter.masking import mask
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.spool.contract import Spool
from edgerouter.spool.folder import locked_folder
from edgerouter.steering import Steering

if TYPE_CHECKING:
    from edgerouter.admin.metrics import Metrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""Of Prometheus' text format."""

log = structlog.get_logger("edgerouter.app")

STARTING_SECONDS = 5.0
"""Time that a request for numbers waits for a router that starts: until it has its sinks they would seem not to be configured."""


def json_response(value: object, status: int = 200) -> web.Response:
    """Return a JSON answer."""
    return web.Response(body=msgspec.json.encode(value), status=status, content_type="application/json")


def make_metrics(
    status: Callable[[], RouterStatus], deliveries: Callable[[], Iterable[tuple[str, DeliveryStatus]]]
) -> Callable[[], Metrics]:
    """Return a function that makes the metrics with its first call: few boxes are scraped, and what that imports takes memory."""

    @cache
    def made() -> Metrics:
        from edgerouter.admin.metrics import Metrics  # noqa: PLC0415

        return Metrics(status, deliveries)

    return made


def observation_routes(
    status: Callable[[], RouterStatus], metrics: Callable[[], Metrics], running: asyncio.Event
) -> list[web.RouteDef]:
    """Return the routes that only look: `/livez`, `/readyz`, `/flowz`, `/metrics`, `/api/status`.

    `metrics` is called in a thread: the first call imports what only scraping needs.
    """

    async def begun() -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(STARTING_SECONDS):
                await running.wait()

    async def live(_: web.Request) -> web.Response:
        return json_response({"live": True})

    async def ready(_: web.Request) -> web.Response:
        now = status()
        reasons = not_ready(now)
        return json_response({"ready": not reasons, "reasons": reasons, "paused": paused(now)}, 503 if reasons else 200)

    async def flowing(_: web.Request) -> web.Response:
        now = status()
        reasons = not_flowing(now)
        return json_response({"flowing": not reasons, "reasons": reasons, "paused": paused(now)}, 503 if reasons else 200)

    async def numbers(_: web.Request) -> web.Response:
        await begun()
        scraped = await asyncio.to_thread(metrics)
        return web.Response(body=scraped.text(), headers={"Content-Type": CONTENT_TYPE})

    async def whole(_: web.Request) -> web.Response:
        await begun()
        return json_response(status())

    return [
        web.get("/livez", live),
        web.get("/readyz", ready),
        web.get("/flowz", flowing),
        web.get("/metrics", numbers),
        web.get("/api/status", whole),
    ]


def control_routes(spool: Spool, steering: Steering) -> list[web.RouteDef]:
    """Return the routes that change something: `POST /api/<operation>` with a JSON body."""

    def route(name: str, kind: type[Any], run: Callable[[Any], Awaitable[dict[str, Any]]]) -> web.RouteDef:
        async def handle(request: web.Request) -> web.Response:
            try:
                asked = msgspec.json.decode(await request.read() or b"{}", type=kind)
                return json_response(await run(asked))
            except msgspec.MsgspecError as error:
                return json_response({"error": f"not a request for {name}: {error}"}, 400)
            except EdgerouterError as error:
                return json_response({"error": mask(str(error))}, 409)

        return web.post(f"/api/{name}", handle)

    return [
        *(route(name, operation.request, partial(operation.run, spool)) for name, operation in OPERATIONS.items()),
        *(route(name, operation.request, partial(operation.run, steering)) for name, operation in STEERING.items()),
    ]


@web.middleware
async def asked_for_this_machine(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse requests by a page of another site: after DNS rebinding to this machine a browser still sends that site's name."""
    host = request.headers.get("Host")
    if host is not None and not _is_local(host):
        text = f"this address answers to localhost and to IP addresses, not to {host[:100]!r}\n"
        return web.Response(text=text, status=421)
    return await handler(request)


def _is_local(host: str) -> bool:
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() else host
    name = name.strip("[]").lower()
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


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
async def serve(
    observation: list[web.RouteDef], control: list[web.RouteDef], folder: Path | None, listen: str | None
) -> AsyncIterator[None]:
    """Serve until left.

    Args:
        observation: routes that only look; on every listener.
        control: routes that change something; on the Unix socket only, which its owner alone can open.
        folder: where the Unix socket goes; `None` = there is none.
        listen: `host:port`, or `None`.

    Raises:
        ConfigurationError: `listen` cannot be used.
    """
    async with AsyncExitStack() as stack:
        if listen is not None:
            listener = tcp_listener(listen, "admin.listen")
            # a remote scraper may know this machine by a name that we do not know
            local = ip_address(listener.getsockname()[0]).is_loopback
            runner = await _runner(stack, observation, (asked_for_this_machine,) if local else ())
            assert runner.server is not None, "it is set up"
            server = await asyncio.get_running_loop().create_server(Reception(runner.server), sock=listener)
            stack.callback(server.close)
        if folder is not None:
            # its owner alone opens it, and some of its answers take long
            runner = await _runner(stack, [*observation, *control])
            await web.SockSite(runner, unix_listener(folder)).start()
        yield


async def _runner(stack: AsyncExitStack, routes: list[web.RouteDef], middlewares: Sequence[Middleware] = ()) -> web.AppRunner:
    app = web.Application(client_max_size=1024**2, middlewares=middlewares)
    app.add_routes(routes)
    runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=1.0, logger=quiet_logger())
    stack.push_async_callback(runner.cleanup)
    await runner.setup()
    return runner
