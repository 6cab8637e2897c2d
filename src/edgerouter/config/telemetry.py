"""The section `telemetry`: export of metrics and traces to a collector of OpenTelemetry."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.util import find_spec
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, StringConstraints, field_validator

from edgerouter.extras import install_command
from edgerouter.masking.models import KeepsItsSecrets
from edgerouter.section import Section
from edgerouter.units import Duration

HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]+$", max_length=200)]


class OtelConfig(Section, KeepsItsSecrets):
    """Export over OTLP/HTTP; needs the extra `otel`."""

    endpoint: str | None = Field(default=None, examples=["http://collector.plant.example:4318"])
    """Address of the collector, for example `http://127.0.0.1:4318`; `/v1/traces` and `/v1/metrics` are appended. Without it
    nothing is exported."""
    headers: Mapping[HeaderName, SecretStr] = Field(
        default={}, max_length=50, examples=[{"Authorization": "Bearer ${file:/run/secrets/otel}"}]
    )
    """Headers of each request, such as an API key."""
    sample_ratio: float = Field(default=0.1, ge=0, le=1)
    """Share of the batches that become a span; 0 exports metrics alone."""
    metrics_interval: Duration = Field(default=60.0, ge=1)
    """Time between two exports of all metrics."""
    timeout: Duration = Field(default=10.0, gt=0, le=300)
    """Time that an export may take, with its repeats; then what it carried is lost and counted."""

    @field_validator("endpoint")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is None:
            return None
        if not _installed():
            raise ValueError(f"needs OpenTelemetry: {install_command('otel')} brings it")
        address = urlsplit(value)
        if address.scheme not in ("http", "https") or not address.hostname:
            raise ValueError("an endpoint is written as http://host:4318 or https://host:4318")
        if address.username is not None or address.query or address.fragment:
            raise ValueError("an endpoint has no credentials and no query; put a key into `headers`")
        return value.rstrip("/")


def _installed() -> bool:
    try:
        return find_spec("opentelemetry.exporter.otlp.proto.http") is not None and find_spec("opentelemetry.sdk") is not None
    except ModuleNotFoundError:  # not even the package above it
        return False


class TelemetryConfig(Section):
    """Export of metrics and traces; `/metrics` is there without it."""

    otel: OtelConfig = OtelConfig()
    """A collector of OpenTelemetry."""
