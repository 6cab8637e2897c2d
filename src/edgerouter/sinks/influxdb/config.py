"""The InfluxDB sink's configuration."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from edgerouter.sink import SinkConfig
from edgerouter.sinks.http.config import ProxyUrl, split_url
from edgerouter.sinks.influxdb.template import check
from edgerouter.tls import TlsConfig
from edgerouter.units import ByteSize, Duration


class InfluxDbConfig(SinkConfig):
    """Writes points to InfluxDB 2 or 3 through the v2 write API."""

    url: str = Field(examples=["http://influxdb.plant.example:8086"])
    """Address of InfluxDB, such as `https://eu-central-1-1.aws.cloud2.influxdata.com`."""
    token: SecretStr
    """API token with write permission for the bucket."""
    org: str = Field(min_length=1, examples=["plant"])
    """Organization, by name or id."""
    bucket: str = Field(min_length=1, examples=["telemetry"])
    """Bucket, by name or id."""
    points: Literal["template", "body"] = "template"
    """Origin of the points. `template`: `measurement`, `tags` and `fields` below. `body`: the payload,
    `{"measurement": "cpu", "tags": "room=lab,host=a", "values": "temp=61.2,load=0.3"}`, where `tags` and `values` may also be
    objects."""
    measurement: Annotated[str, AfterValidator(check)] = Field(default="{topic}", examples=["{topic[1]}"])
    """Measurement of a point, a template (docs/reference/templates.md) such as `{topic[1]}` or `{payload[a.b]}`. Characters that a
    name cannot hold are percent-encoded, here and in tags: control characters, and a backslash at the end or before a blank, comma,
    equals sign or backslash."""
    tags: dict[str, str] = Field(default_factory=dict, examples=[{"line": "{topic[1]}"}])
    """Tags of a point, by name, each a template; an empty result is left out."""
    fields: dict[str, str] = Field(default_factory=dict, examples=[{"celsius": "{payload[temperature]}"}])
    """Fields of a point, by name, each a template; a single `{payload[a.b]}` keeps its type. By default every number, boolean and
    text of a JSON payload becomes a field of its name, `a.b` inside an object; `time` is left out, because InfluxDB reserves it. A
    payload that is not an object is stored as `value`. Numbers are floats; whole numbers beyond 2^53, which a float would round,
    are integers. At most 5,000 fields and 32 nested objects."""
    max_request_messages: int = Field(default=5000, ge=1)
    """Most points in one request."""
    max_request_bytes: ByteSize = Field(default=8 * 1024**2, ge=1024)
    """Largest request, before compression. A message with a larger payload is dead-lettered without being decoded."""
    compression: Literal["gzip", "none"] = "gzip"
    """Compression of requests."""
    probe: bool = True
    """Check on opening that points may be written, by writing none."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """Time to connect. The whole request is bounded by the sink's `timeout`."""
    proxy: ProxyUrl | None = None
    """HTTP proxy, `http://host:port`; may hold `user:password@`."""
    tls: TlsConfig | None = None
    """Certificates, for `https://`."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = split_url(value, "InfluxDB; write for example http://localhost:8086")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("the url holds more than scheme, host, port and path")
        return value.rstrip("/")

    @field_validator("tags", "fields")
    @classmethod
    def _are_templates(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not name or name.startswith("_") or name == "time":
                raise ValueError(f"{name!r} is not a name that InfluxDB accepts: it is empty, `time`, or starts with `_`")
            check(text)
        return value

    @field_validator("token")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().isascii() or not value.get_secret_value().isprintable() or not value.get_secret_value():
            raise ValueError("the token holds characters that are not valid in a token")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("`tls` is given but the url says no TLS; write https://")
        if self.points == "body" and (self.tags or self.fields):
            raise ValueError("`tags` and `fields` are for points: template; with points: body the payload holds them")
        return self
