"""Everything that the admin server answers; imported with its first caller."""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

from edgerouter.admin.api.table import api_routes
from edgerouter.admin.dashboard.routes import dashboard_routes
from edgerouter.admin.observation import observation_routes
from edgerouter.admin.running import RunningRouter
from edgerouter.admin.server import serve

if TYPE_CHECKING:
    from edgerouter.admin.metrics import Metrics


def served(
    router: RunningRouter, metrics: Callable[[], Metrics], control: socket.socket | None
) -> AbstractAsyncContextManager[None]:
    """Serve all routes until left; raises as `serve` does.

    Args:
        router: answers.
        metrics: returns those of the router.
        control: listening Unix socket; `None` = there is none.
    """
    routes = [*observation_routes(router.status, metrics, router.running), *api_routes(router), *dashboard_routes()]
    return serve(routes, control, router.config.admin, router.streams.close)
