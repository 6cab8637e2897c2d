"""Asks a router again and again in a thread: one that does not answer holds up no key."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any, Final
from urllib.parse import quote

from edgerouter.admin.client import Client
from edgerouter.cli.output import all_shown, shown
from edgerouter.errors import EdgerouterError

MOST_EVENTS: Final = 1000
_PAGE: Final = 200
_PAGES: Final = 5
"""Pages of events of one look."""
_FAILURES: Final = (EdgerouterError, HTTPException, ValueError)
"""Of a router that is not there, or ends in the middle of its answer."""


@dataclass(frozen=True, slots=True)
class Look:
    """Result of one look."""

    at: float
    """Monotonic seconds."""
    status: dict[str, Any] | None = None
    """Answer of the router, with every text as it may be shown."""
    error: str = ""
    """Reason for the missing answer."""


class Looking:
    """Looks at a router.

    Args:
        client: of the router.
        interval: seconds between two looks.
        news: called after each look and each order, from a thread.
    """

    def __init__(self, client: Client, interval: float, news: Callable[[], None]) -> None:
        self._client = client
        self._interval = interval
        self._news = news
        self._ended = threading.Event()
        self._ordering = threading.Lock()
        self._last_event = 0
        self.with_events = False
        """Read the events too."""
        self.events: deque[dict[str, Any]] = deque(maxlen=MOST_EVENTS)
        """Events as they may be shown, oldest first."""
        self.latest: Look | None = None
        self.asked_at: float | None = None
        """Monotonic seconds of the question that has no answer yet."""
        self.said = ""
        """Result of the last order."""

    @contextmanager
    def running(self) -> Iterator[None]:
        """Look while open. A look that waits for its answer is left behind: the process ends with it."""
        threading.Thread(target=self._run, name="look at the router", daemon=True).start()
        try:
            yield
        finally:
            self._ended.set()

    def order(self, operation: str, sink: str) -> None:
        """Pause or resume a sink in a thread; one order at a time."""
        if self._ordering.acquire(blocking=False):
            threading.Thread(target=self._order, args=(operation, sink), name=operation, daemon=True).start()

    def _run(self) -> None:
        while not self._ended.is_set():
            began = self.asked_at = time.monotonic()
            self.latest = self._look()
            self.asked_at = None
            self._news()
            self._ended.wait(max(0.0, began + self._interval - time.monotonic()))

    def _look(self) -> Look:
        try:
            raw = self._client.get("/api/status")
            refused = shown(raw["configuration_error"])  # one line for each problem
            status = all_shown(raw) | {"configuration_error": refused}
            if self.with_events:
                self._read_events()
        except _FAILURES as error:
            return Look(time.monotonic(), error=shown(str(error) or type(error).__name__))
        return Look(time.monotonic(), status)

    def _read_events(self) -> None:
        for _ in range(_PAGES):
            found = self._client.get(f"/api/v1/events?limit={_PAGE}&after={self._last_event}")
            self.events.extend(all_shown(found["items"]))
            if len(found["items"]) < _PAGE:
                self._last_event = found["next"]
                return
            self._last_event = found["next"]

    def _order(self, operation: str, sink: str) -> None:
        try:
            self._client.ask("POST", f"/api/v1/sinks/{quote(sink, safe='')}/{operation}", {}, seconds=60.0)
        except _FAILURES as error:
            self.said = shown(f"{operation} {sink}: {error}")
        else:
            self.said = shown(f"{sink} {'is paused' if operation == 'pause' else 'runs again'}")
        finally:
            self._ordering.release()
            self._news()
