"""Settings shared by everything that connects to NATS: servers, credentials, TLS, bounds."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from edgerouter import ByteSize, Duration, Section
from edgerouter.tls import ReadableFile, TlsConfig

_PORT: Final = 4222
_SCHEMES: Final = {"nats", "tls"}


class NatsSettings(Section):
    """To be mixed into the configuration of a source, a sink or a spool."""

    # a URL may hold a password
    model_config = ConfigDict(hide_input_in_errors=True)

    servers: tuple[str, ...] = Field(
        min_length=1, max_length=64, examples=[["nats://nats-1.plant.example:4222", "nats://nats-2.plant.example:4222"]]
    )
    """Servers of one cluster, tried in turn: `nats://host:4222`, or `tls://host:4222`, which never connects without TLS. A bare
    host is `nats://`. May hold `user:password@` or `token@`, the same in each."""
    username: str | None = Field(default=None, examples=["router"])
    """User name."""
    password: SecretStr | None = None
    """Password of the user."""
    token: SecretStr | None = None
    """Token, in place of a user."""
    nkey_seed: SecretStr | None = None
    """Seed of the user's NKey, which begins with `SU`."""
    creds_file: ReadableFile | None = Field(default=None, examples=["/etc/edgerouter/router.creds"])
    """Credentials file of a decentralized account: the user's JWT and the seed of its NKey. Read again at every connect."""
    tls: TlsConfig | None = None
    """Certificates. Given, no connection is made without TLS."""
    tls_handshake_first: bool = False
    """Begin TLS before the server has sent anything, as its `handshake_first` wants it."""
    domain: str | None = Field(default=None, pattern=r"^[^\s.*>]+$", examples=["plant"])
    """JetStream domain, for streams of a leaf node or of the cluster behind one."""
    inbox_prefix: str = Field(default="_INBOX", pattern=r"^[^\s.*>]+(\.[^\s.*>]+)*$", examples=["_INBOX_edge7"])
    """Prefix of subjects that answers come to, where the account's permissions name one."""
    connect_timeout: Duration = Field(default=10.0, gt=0, le=300)
    """Time for one server to let us in."""
    ping_interval: Duration = Field(default=20.0, ge=1, le=3600)
    """Silence after which the connection is tested; a dead one is noticed within three times this."""
    max_message_bytes: ByteSize = Field(default=8 * 1024**2, ge=1024, le=64 * 1024**2)
    """Longest message to accept from a server, with its headers; a longer one is dropped while it streams by, and counted."""

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_the_urls(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        servers = data.get("servers")
        urls = [servers] if isinstance(servers, str) else servers
        if not isinstance(urls, list | tuple) or not all(isinstance(url, str) for url in urls):
            return data
        parsed = [_parse(url) for url in urls]
        found = {(part.username, part.password) for part in parsed if part.username}
        plain = data | {"servers": [_without_credentials(part) for part in parsed]}
        if not found:
            return plain
        if len(found) > 1 or any(not part.username for part in parsed):
            raise ValueError("`servers` hold different credentials: write them once, in `username` and `password` or in `token`")
        if any(data.get(name) is not None for name in ("username", "password", "token")):
            raise ValueError("credentials stand both in `servers` and beside it; write them once")
        return plain | _credentials(*found.pop())

    @field_validator("nkey_seed")
    @classmethod
    def _is_a_seed(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None and not value.get_secret_value().strip().startswith("SU"):
            raise ValueError("the seed of a user's NKey begins with SU")
        return value

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if self.password is not None and self.username is None:
            raise ValueError("`password` needs `username`")
        if self.username is not None and self.password is None:
            raise ValueError("`username` needs `password`")
        given = [name for name in ("username", "token", "nkey_seed", "creds_file") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(f'`{name}`' for name in given)} exclude each other")
        return self

    @property
    def hosts(self) -> str:
        """Hosts and ports for logs and errors, without credentials."""
        return ", ".join(url.partition("://")[2] for url in self.servers)

    @property
    def wants_tls(self) -> bool:
        """True where a connection without TLS is refused."""
        return self.tls is not None or self.tls_handshake_first or any(url.startswith("tls:") for url in self.servers)


def _parse(url: str) -> SplitResult:
    parts = urlsplit(url if "://" in url else f"nats://{url}")
    try:
        port = parts.port
    except ValueError:
        port = 0
    if parts.scheme not in _SCHEMES or not parts.hostname or port == 0 or parts.path.strip("/") or parts.query:
        raise ValueError("a server is nats://host:4222 or tls://host:4222")
    return parts


def _without_credentials(parts: SplitResult) -> str:
    host = f"[{parts.hostname}]" if ":" in str(parts.hostname) else parts.hostname
    return f"{parts.scheme}://{host}:{parts.port or _PORT}"


def _credentials(user: str | None, password: str | None) -> dict[str, str]:
    if password is None:
        return {"token": unquote(user or "")}
    return {"username": unquote(user or ""), "password": unquote(password)}


def secrets_of(settings: NatsSettings) -> Iterable[str]:
    """Return the secrets of a configuration, to be masked."""
    fields = (settings.password, settings.token, settings.nkey_seed)
    return [field.get_secret_value() for field in fields if field is not None]
