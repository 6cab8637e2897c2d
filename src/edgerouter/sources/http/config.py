"""The HTTP source's configuration."""

from __future__ import annotations

import re
from typing import Annotated, Self

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, model_validator

from edgerouter.http_server.listen import ListenAddress, host_of
from edgerouter.http_server.tls import ServerTlsConfig
from edgerouter.http_server.tokens import check_token
from edgerouter.section import Section
from edgerouter.source import SourceConfig
from edgerouter.topics import TopicFilter, check_name, split_share
from edgerouter.units import ByteSize, Duration
from edgerouter.weak_points import is_this_machine

_PATH = re.compile(r"(/[A-Za-z0-9._~-]+)*")
_HEADER = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")


def _path(text: str) -> str:
    text = text.rstrip("/")
    if not _PATH.fullmatch(text):
        raise ValueError("should be a path such as /topics, of letters, digits and . _ ~ -")
    return text


def _filter(text: str) -> str:
    if split_share(text)[0] is not None:
        raise ValueError("nothing is subscribed to here: write the filter without $share")
    return text


def _header(text: str) -> str:
    if not _HEADER.fullmatch(text):
        raise ValueError("should be the name of a header, such as X-Device")
    return text


def _prefix(text: str) -> str:
    if text:
        check_name(text)
    return text


AllowedTopics = Annotated[tuple[Annotated[TopicFilter, AfterValidator(_filter)], ...], Field(min_length=1)]


class TokenConfig(Section, hide_input_in_errors=True):
    """A client that identifies itself by a bearer token."""

    token: SecretStr
    """The token, of at least 16 characters; `openssl rand -hex 24` makes one. Clients send `Authorization: Bearer TOKEN`."""
    topics: AllowedTopics | None = Field(default=None, examples=[["plant/press-4/#"]])
    """Topics that this client may write to, as filters; the source's `topics` limit it, too."""

    @model_validator(mode="after")
    def _long_enough(self) -> Self:
        check_token(self.token.get_secret_value())
        return self


class RateConfig(Section, hide_input_in_errors=True):
    """Upper bounds of what is accepted; beyond them the answer is 429 with `Retry-After`."""

    messages: float | None = Field(default=None, gt=0, examples=[1000])
    """Messages a second, of all clients together."""
    client_messages: float | None = Field(default=None, gt=0, examples=[10])
    """Messages a second of one client: of a token, or of an IP address where there are no tokens."""


class HttpSourceConfig(SourceConfig):
    """Accepts messages over HTTP: `POST /topics/TOPIC` stores the body, and is answered with 202 after the commit."""

    # a problem of the whole would quote the tokens
    model_config = ConfigDict(hide_input_in_errors=True)

    listen: ListenAddress = Field(default="127.0.0.1:8090", examples=["0.0.0.0:8090"])
    """Address to listen on. Beyond this machine, for example `0.0.0.0:8090`, clients need `tokens` or `tls.client_ca`."""
    path: Annotated[str, AfterValidator(_path)] = Field(default="/topics", examples=["/ingest"])
    """Path in front of the topic. Without a topic after it, the header `Edgerouter-Topic` (percent-encoded) names the topic."""
    topic_prefix: Annotated[str, AfterValidator(_prefix)] = Field(default="", examples=["http/"])
    """Text in front of every topic, such as `http/`."""
    topics: AllowedTopics = Field(default=("#",), examples=[["plant/#"]])
    """Topics that clients may write to, as filters, with the prefix. `#` does not hold topics that begin with `$`."""
    tokens: dict[str, TokenConfig] = Field(default_factory=dict)
    """Clients by name, each with its token. Without tokens every client that can connect is served, except pages in browsers."""
    anonymous: bool = False
    """Serve clients of the network without a token or certificate. Every device of the network can then write."""
    tls: ServerTlsConfig | None = None
    """Certificate to present; without it the source speaks plain HTTP."""
    user_properties: tuple[Annotated[str, AfterValidator(_header)], ...] = Field(default=(), examples=[["X-Device"]])
    """Headers that become user properties of the message, under the name as written here."""
    rate: RateConfig = RateConfig()
    """Upper bounds of what is accepted."""
    max_body_bytes: ByteSize = Field(default=4 * 1024**2, ge=1, le=256 * 1024**2)
    """Largest body, also after decompression of one with `Content-Encoding: gzip`; a larger one is answered with 413."""
    max_batch_messages: int = Field(default=10_000, ge=1, le=1_000_000)
    """Most messages of a request with a JSON array or JSON Lines."""
    max_connections: int = Field(default=256, ge=1, le=10_000)
    """Connections at once. Beyond it the one that has been idle longest is closed."""
    max_unacknowledged: int = Field(default=100_000, ge=1, le=1_000_000)
    """Most messages held that are not stored yet; then the answer is 503."""
    max_unacknowledged_bytes: ByteSize = Field(default=32 * 1024**2, ge=1024)
    """Bytes held that are not stored yet, including half-received bodies; then the answer is 503."""
    max_idempotency_keys: int = Field(default=10_000, ge=0, le=1_000_000)
    """Most values of `Idempotency-Key` that are remembered, the newest ones."""
    head_timeout: Duration = Field(default=10.0, gt=0)
    """Time for the request line and headers, and for a TLS handshake."""
    body_timeout: Duration = Field(default=30.0, gt=0)
    """Time for a body."""
    idle_timeout: Duration = Field(default=75.0, gt=0)
    """Time for which a connection stays open between two requests."""
    answer_timeout: Duration = Field(default=10.0, gt=0)
    """Time without a commit after which waiting requests, and new ones until the next commit, are answered with 503."""

    @model_validator(mode="after")
    def _guarded(self) -> Self:
        if not (self.local or self.tokens or self.anonymous or (self.tls is not None and self.tls.client_ca is not None)):
            raise ValueError(
                "`listen` serves the network: set `tokens`, or `tls.client_ca`, or, to let every device write, `anonymous: true`"
            )
        if self.max_body_bytes > self.max_unacknowledged_bytes:
            raise ValueError("`max_body_bytes` is more than `max_unacknowledged_bytes`")
        if len({each.token.get_secret_value() for each in self.tokens.values()}) < len(self.tokens):
            raise ValueError("`tokens` hold a token twice")
        return self

    @property
    def local(self) -> bool:
        """True if only this machine can connect."""
        return is_this_machine(host_of(self.listen))
