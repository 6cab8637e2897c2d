"""The section `admin`: the control interface over TCP, and the callers that may read and change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, ConfigDict, Field, SecretStr, StringConstraints, model_validator

from edgerouter.http_server.listen import ListenAddress
from edgerouter.http_server.tls import ServerTlsConfig
from edgerouter.http_server.tokens import check_token
from edgerouter.masking.fields import check_field
from edgerouter.masking.models import KeepsItsSecrets
from edgerouter.section import Section
from edgerouter.topics import TopicFilter
from edgerouter.units import ByteSize

MOST_TOKENS: Final = 100

TokenName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class AdminToken(Section, KeepsItsSecrets):
    """A caller that identifies itself by a bearer token."""

    # a problem of the whole would quote the token
    model_config = ConfigDict(hide_input_in_errors=True)

    token: SecretStr | None = None
    """The token, of at least 16 characters; `openssl rand -hex 24` makes one. Callers send `Authorization: Bearer TOKEN`."""
    token_file: Path | None = Field(default=None, examples=["/etc/edgerouter/ops.tokens"])
    """Instead of `token`: a file with a token on each line. It is read again when it changes, so two lines rotate a token."""
    read_only: bool = False
    """The caller may read, and change nothing."""

    @model_validator(mode="after")
    def _has_one(self) -> Self:
        if (self.token is None) == (self.token_file is None):
            raise ValueError("needs either `token` or `token_file`")
        if self.token is not None:
            check_token(self.token.get_secret_value())
        return self


RedactedField = Annotated[str, StringConstraints(min_length=1, max_length=256), AfterValidator(check_field)]


class TapRedactConfig(Section):
    """Parts of messages that the tap does not show. Secrets that the configuration holds are masked without it."""

    topics: tuple[TopicFilter, ...] = Field(default=(), max_length=1000, examples=[["door/+/code"]])
    """Filters of topics whose messages are shown without payload and user properties, whatever topic the steps of a sink give
    them."""
    fields: tuple[RedactedField, ...] = Field(default=(), max_length=1000, examples=[["pin", "/login/user"]])
    """Names of JSON fields, at any depth and in any case, and JSON pointers such as `/login/pin`: their values are shown as `***`.
    A payload with such a name that is not a JSON document is not shown, nor is one of more than 64 KiB. Steps may rename a field:
    then list both names."""


class TapConfig(Section):
    """The tap: a sample of the messages that pass, on the dashboard and by `edgerouter tap`; `tap: true` turns it on."""

    enabled: bool = False
    """Show messages over the Unix socket, and over TCP to callers with a token."""
    preview_bytes: ByteSize = Field(default=1024, ge=1, le=4096)
    """Most bytes of a payload that are shown."""
    max_messages_per_second: int = Field(default=20, ge=1, le=1000)
    """Most messages a second that one caller gets; the others are counted. Masking a kilobyte takes some milliseconds."""
    redact: TapRedactConfig = TapRedactConfig()
    """Parts that are not shown."""

    @model_validator(mode="before")
    @classmethod
    def _switch(cls, value: Any) -> Any:
        return {"enabled": value} if isinstance(value, bool) else value


class AdminConfig(Section):
    """The control interface; it is always on a Unix socket in the spool folder, which its owner alone opens."""

    model_config = ConfigDict(hide_input_in_errors=True)

    listen: ListenAddress | None = Field(default=None, examples=["127.0.0.1:8080"])
    """Also listen on this TCP address, for example `127.0.0.1:8080`. There, reading needs no token; on an address that the network
    reaches, such as `0.0.0.0:8080`, reading needs one too. Whatever changes something always needs a token."""
    tls: ServerTlsConfig | None = None
    """Certificate to present on `listen`; without it, plain HTTP."""
    tokens: dict[TokenName, AdminToken] = Field(default_factory=dict, max_length=MOST_TOKENS)
    """Callers by name, each with its token. The name stands in the log beside every change."""
    read_only: bool = False
    """Nothing can be changed over TCP, whatever the token."""
    open: tuple[Literal["health", "metrics"], ...] = ("health",)
    """Endpoints that the network gets without a token: `health` (`/livez`, `/readyz`, `/flowz`, for orchestrators) and `metrics`
    (`/metrics`, for a Prometheus that sends no token)."""

    tap: TapConfig = TapConfig()
    """Show a sample of the messages that pass; off by default."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls is not None and self.listen is None:
            raise ValueError("`tls` needs `listen`: the Unix socket has no certificate")
        tokens = [each.token.get_secret_value() for each in self.tokens.values() if each.token is not None]
        if len(set(tokens)) < len(tokens):
            raise ValueError("`tokens` hold a token twice")
        return self
