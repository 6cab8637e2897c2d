"""The HTTP sink's configuration."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, field_validator, model_validator

from edgerouter.objects import Compression
from edgerouter.sink import SinkConfig
from edgerouter.tls import TlsConfig
from edgerouter.units import ByteSize, Duration

HttpFraming = Literal["jsonl", "jsonl-exact", "json-array", "raw-lines", "payload"]
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_SECRET = {"authorization", "proxy-authorization", "cookie", "x-api-key", "api-key"}
"""Headers that only ever carry credentials."""
_OURS = {"content-length", "transfer-encoding", "content-encoding", "host", "connection"}


def split_url(value: str, what: str) -> SplitResult:
    """Split the URL of a web service.

    Raises:
        ValueError: it is not the URL of `what`, with the reason; the text shows nothing that may be a password.
    """
    try:
        parts = urlsplit(value)
        whole = parts.scheme in ("http", "https") and bool(parts.hostname) and value.isprintable() and " " not in value
    except ValueError:
        whole = False
    if not whole:
        raise ValueError(f"not the URL of {what}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if port == 0:
        raise ValueError("a port is a number from 1 to 65535")
    return parts


def _proxy(value: SecretStr) -> SecretStr:
    split_url(value.get_secret_value(), "a proxy; write for example http://proxy.example:3128")
    return value


ProxyUrl = Annotated[SecretStr, AfterValidator(_proxy)]
"""URL of an HTTP proxy; it may hold a password."""


class HttpConfig(SinkConfig):
    """Sends messages to a web service, one request per batch."""

    # headers may hold secrets
    model_config = ConfigDict(hide_input_in_errors=True)

    url: str = Field(examples=["https://plant.example/ingest/{topic}"])
    """Address of the service, `http://` or `https://`. Secrets belong into `secret_headers` or `password`, not here."""
    method: Literal["POST", "PUT", "PATCH"] = "POST"
    """HTTP method of the request."""
    headers: dict[str, str] = Field(default_factory=dict, examples=[{"X-Plant": "north"}])
    """Headers to send."""
    secret_headers: dict[str, SecretStr] = Field(
        default_factory=dict, examples=[{"Authorization": "Bearer ${file:/run/secrets/token}"}]
    )
    """Headers to send whose values are never shown, such as `Authorization: Bearer ...`."""
    username: str | None = Field(default=None, examples=["router"])
    """User name for basic authentication."""
    password: SecretStr | None = None
    """Password for basic authentication."""
    framing: HttpFraming = "jsonl"
    """Format of the body. `jsonl`: a JSON object per line with topic, time and payload. `jsonl-exact`: the same with every
    payload as text, or as base64 where it is not text, so that any JSON parser restores every byte. `json-array`: the objects of
    `jsonl` in one array. `raw-lines`: each payload and a newline. `payload`: one request per message; the headers
    `Edgerouter-Topic` (percent-encoded), `-Time`, `-Qos` and `-Retained` carry the rest."""
    content_type: str | None = Field(default=None, examples=["application/x-ndjson"])
    """`Content-Type` of the body; by default that of the framing, and with `payload` the one set by the publisher."""
    compression: Compression = "none"
    """Compression of the body: `none`, `gzip` or `zstd`."""
    max_request_messages: int | None = Field(default=None, ge=1, examples=[500])
    """Most messages that the service accepts in one request."""
    max_request_bytes: ByteSize | None = Field(default=None, ge=1, examples=["512KiB"])
    """Largest body that the service accepts, before compression. A larger message is dead-lettered."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """Time to connect. The whole request is bounded by the sink's `timeout`."""
    proxy: ProxyUrl | None = None
    """HTTP proxy, `http://host:port`; may hold `user:password@`."""
    tls: TlsConfig | None = None
    """Certificates, for `https://`."""

    @field_validator("url")
    @classmethod
    def _is_http(cls, value: str) -> str:
        parts = split_url(value, "a web service; write for example https://example.com/ingest")
        if parts.username is not None or parts.password is not None:
            raise ValueError("the url holds credentials; write them as `username` and `password`")
        if parts.fragment:
            raise ValueError("the url holds a fragment (#...), which is never sent")
        return value

    @field_validator("headers")
    @classmethod
    def _hold_no_secret(cls, value: dict[str, str]) -> dict[str, str]:
        for name in value:
            if name.lower() in _SECRET:
                raise ValueError(f"header {name} holds a secret: write it under `secret_headers`, whose values are never shown")
        return value

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        values = [*self.headers.items(), *((name, value.get_secret_value()) for name, value in self.secret_headers.items())]
        names = [name.lower() for name, _ in values]
        for name, value in values:
            if not _NAME.fullmatch(name):
                raise ValueError(f"not a header name: {name!r}")
            if not _VALUE.fullmatch(value):
                raise ValueError(f"the value of header {name} holds a line break or another character that a header cannot hold")
            if name.lower() in _OURS or name.lower().startswith("edgerouter-"):
                raise ValueError(f"header {name} is set by the sink itself")
            if names.count(name.lower()) > 1:
                raise ValueError(f"header {name} is given twice")
        if "content-type" in names:
            raise ValueError("header Content-Type: write it as `content_type`")
        if (self.username is None) != (self.password is None):
            raise ValueError("`username` and `password` must be set together")
        if self.username is not None and "authorization" in names:
            raise ValueError("`username` and a header Authorization exclude each other")
        if self.tls is not None and not self.url.startswith("https:"):
            raise ValueError("`tls` is given but the url says no TLS; write https://")
        if self.framing == "payload" and self.max_request_messages not in (None, 1):
            raise ValueError("framing: payload sends one message per request, so `max_request_messages` is 1")
        return self

    @property
    def where(self) -> str:
        """Address to show in errors: without the query, which may hold anything."""
        parts = urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}{parts.path}"
