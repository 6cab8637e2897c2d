"""The running router, as the admin server and its parts see it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Protocol

from edgerouter.admin.certificates import Certificates
from edgerouter.admin.open_streams import OpenStreams
from edgerouter.admin.status import RouterStatus
from edgerouter.config.model import RouterConfig
from edgerouter.pipeline.intake import IntakeStatus
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.pipeline.tap import Taps
from edgerouter.spool.contract import Spool
from edgerouter.steering import Steering
from edgerouter.telemetry.events import Events


class RunningRouter(Protocol):
    """A router while it runs."""

    running: asyncio.Event
    """Set once everything is started."""
    events: Events
    certificates: Certificates
    steering: Steering
    streams: OpenStreams
    taps: Taps

    @property
    def config(self) -> RouterConfig:
        """The present configuration."""

    @property
    def spool(self) -> Spool: ...

    def status(self) -> RouterStatus:
        """Return the numbers of this moment."""

    def deliveries(self) -> Iterable[tuple[str, DeliveryStatus]]:
        """Return the name of each sink with its numbers."""

    def intakes(self) -> Iterable[tuple[str, IntakeStatus]]:
        """Return the name of each source with its numbers."""

    async def reload_file(self) -> None:
        """Read the configuration again and change to it.

        Raises:
            ConfigurationError: it cannot be used, and the present one stays.
        """
