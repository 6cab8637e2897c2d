"""The section `admin`: the control interface over TCP, and the callers that may read and change."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, StringConstraints, model_validator

from edgerouter.config.section import Section
from edgerouter.http_server.listen import ListenAddress
from edgerouter.http_server.tls import ServerTlsConfig
from edgerouter.http_server.tokens import check_token
from edgerouter.masking.models import KeepsItsSecrets

MOST_TOKENS: Final = 100

TokenName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")]


class AdminToken(Section, KeepsItsSecrets):
    """A caller that identifies itself by a bearer token."""

    # a problem of the whole would quote the token
    model_config = ConfigDict(hide_input_in_errors=True)

    token: SecretStr | None = None
    """The token, of at least 16 characters; `openssl rand -hex 24` makes one. Callers send `Authorization: Bearer TOKEN`."""
    token_file: Path | None = None
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


class AdminConfig(Section):
    """The control interface; it is always on a Unix socket in the spool folder, which its owner alone opens."""

    model_config = ConfigDict(hide_input_in_errors=True)

    listen: ListenAddress | None = None
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

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.tls is not None and self.listen is None:
            raise ValueError("`tls` needs `listen`: the Unix socket has no certificate")
        tokens = [each.token.get_secret_value() for each in self.tokens.values() if each.token is not None]
        if len(set(tokens)) < len(tokens):
            raise ValueError("`tokens` hold a token twice")
        return self
