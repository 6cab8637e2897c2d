"""The InfluxDB sink's configuration."""

from __future__ import annotations

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from edgerouter.sink import SinkConfig
from edgerouter.sinks.http.config import ProxyUrl
from edgerouter.sinks.influxdb.template import Template
from edgerouter.tls import TlsConfig
from edgerouter.units import ByteSize, Duration


class InfluxDbConfig(SinkConfig):
    """Points in InfluxDB 2 or 3, by the v2 write API."""

    url: str
    """Where InfluxDB is, such as `https://eu-central-1-1.aws.cloud2.influxdata.com`."""
    token: SecretStr
    """API token with write permission for the bucket."""
    org: str = Field(min_length=1)
    """Organization, by name or id."""
    bucket: str = Field(min_length=1)
    """Bucket, by name or id."""
    points: Literal["template", "body"] = "template"
    """How a message becomes a point. `template`: by `measurement`, `tags` and `fields`. `body`: the payload says it,
    `{"measurement": "cpu", "tags": "room=lab,host=a", "values": "temp=61.2,load=0.3"}`, where `tags` and `values` may also be
    objects."""
    measurement: str = "{topic}"
    """Measurement of a point, a template: `{topic}`, `{topic[1]}`, `{host}`, `{property[name]}` (a user property of MQTT 5),
    `{payload}`, `{payload[a.b]}` (a member of a JSON payload). What no name can hold is percent-encoded, here and in tags: control
    characters, a backslash before a blank, comma, equals sign or backslash, or at the end."""
    tags: dict[str, str] = Field(default_factory=dict)
    """Tags of a point, by name, each a template; one that comes out empty is left out."""
    fields: dict[str, str] = Field(default_factory=dict)
    """Fields of a point, by name, each a template; one that is a single `{payload[a.b]}` keeps its type. By default every number,
    boolean and text of a JSON payload under its own name, `a.b` inside an object, but not `time`, which InfluxDB has for itself; a
    payload that is no object is `value`. Numbers are floats, and whole numbers beyond 2^53, which a float would round, integers. At
    most 5,000 fields and 32 objects within objects."""
    max_request_messages: int = Field(default=5000, ge=1)
    """Most points in one request."""
    max_request_bytes: ByteSize = Field(default=8 * 1024**2, ge=1024)
    """Largest request, before compression. A message whose payload is larger by itself is dead-lettered without being read."""
    compression: Literal["gzip", "none"] = "gzip"
    """Compression of requests."""
    probe: bool = True
    """When opening, find out whether points may be written, by writing none."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """Time for a connection. The time of a whole request is the sink's `timeout`."""
    proxy: ProxyUrl | None = None
    """HTTP proxy, `http://host:port`; may hold `user:password@`."""
    tls: TlsConfig | None = None
    """Certificates, for `https://`."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not the URL of InfluxDB; write for example http://localhost:8086")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise ValueError("the url holds more than scheme, host, port and path")
        _ = parts.port  # raises when it is not a number of a port
        return value.rstrip("/")

    @field_validator("measurement")
    @classmethod
    def _is_a_template(cls, value: str) -> str:
        Template.parse(value)
        return value

    @field_validator("tags", "fields")
    @classmethod
    def _are_templates(cls, value: dict[str, str]) -> dict[str, str]:
        for name, text in value.items():
            if not name or name.startswith("_") or name == "time":
                raise ValueError(f"{name!r} is not a name that InfluxDB takes: it is empty, `time`, or starts with `_`")
            Template.parse(text)
        return value

    @field_validator("token")
    @classmethod
    def _fits_into_a_header(cls, value: SecretStr) -> SecretStr:
        if not value.get_secret_value().isascii() or not value.get_secret_value().isprintable() or not value.get_secret_value():
            raise ValueError("the token holds characters that no token has")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("`tls` is given but the url says no TLS; write https://")
        if self.points == "body" and (self.tags or self.fields):
            raise ValueError("`tags` and `fields` are for points: template; with points: body the payload has them")
        return self
