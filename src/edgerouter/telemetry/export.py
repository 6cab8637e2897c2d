"""Export of metrics and spans, if the configuration names a collector; nothing of OpenTelemetry is imported without one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Protocol

from edgerouter.config.telemetry import TelemetryConfig
from edgerouter.errors import ConfigurationError
from edgerouter.extras import install_command
from edgerouter.telemetry.spans import ExportStatus, Spans

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric


class Exporter(Spans, Protocol):
    """Gets the sampled writes, and reports on their export."""

    @property
    def status(self) -> ExportStatus:
        """Numbers of the export since the start."""


@asynccontextmanager
async def exporting(
    config: TelemetryConfig, attributes: Mapping[str, str], scrape: Callable[[], Iterable[Metric]]
) -> AsyncIterator[Exporter | None]:
    """Yield the exporter; `None` where nothing is exported.

    Args:
        config: of the router.
        attributes: of the router, as OpenTelemetry's conventions name them.
        scrape: returns all metrics, called on the event loop.

    Raises:
        ConfigurationError: OpenTelemetry is not installed.
    """
    if config.otel.endpoint is None:
        yield None
        return
    try:
        from edgerouter.telemetry.otel.exporter import OtelExporter  # noqa: PLC0415  (few boxes export)
    except ImportError as error:
        raise ConfigurationError(f"telemetry.otel: needs OpenTelemetry: {install_command('otel')} brings it ({error})") from error
    exporter = OtelExporter(config.otel, attributes)
    async with exporter.exporting(scrape):
        yield exporter
