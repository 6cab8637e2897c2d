"""Print the status once, for an output other than a terminal, such as a pipe."""

from __future__ import annotations

import time

from edgerouter.admin.client import Client, NoRouter
from edgerouter.cli.output import console
from edgerouter.cli.status import render


def show(client: Client, interval: float, seconds: float | None) -> None:
    """Print the status once.

    Args:
        client: of the router.
        interval: seconds between two looks for a router that does not run yet.
        seconds: to wait for a router that does not run yet.

    Raises:
        NoRouter: none was there in time.
    """
    until = time.monotonic() + (seconds or 0.0)
    while True:
        try:
            status = client.get("/api/status")
        except NoRouter:
            if time.monotonic() + interval > until:
                raise
            time.sleep(interval)
        else:
            console().print(render(status))
            return
