"""TLS settings of a server, and contexts made from the certificate files as they are now."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Self

from pydantic import Field, SecretStr, model_validator

from edgerouter.section import Section
from edgerouter.tls import ReadableFile, load_authorities, load_identity


class ServerTlsConfig(Section, hide_input_in_errors=True):
    """Certificate to present, and authorities of clients."""

    cert: ReadableFile = Field(examples=["/etc/edgerouter/server.pem"])
    """PEM file of the server's certificate, with its chain."""
    key: ReadableFile | None = Field(default=None, examples=["/etc/edgerouter/server.key"])
    """PEM file of the certificate's private key, if `cert` does not hold it."""
    key_password: SecretStr | None = None
    """Password of the private key."""
    client_ca: ReadableFile | None = Field(default=None, examples=["/etc/edgerouter/clients-ca.pem"])
    """PEM file of the authorities of client certificates (mutual TLS): clients without a certificate from them are refused."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        make_server_context(self)
        return self


def make_server_context(config: ServerTlsConfig) -> ssl.SSLContext:
    """Create a server's context from the files as they are now. Reads files: not for the event loop.

    Raises:
        ValueError: a file is not usable; the message names it.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    load_identity(context, config.cert, config.key, config.key_password)
    if config.client_ca is not None:
        load_authorities(context, config.client_ca)
        context.verify_mode = ssl.CERT_REQUIRED
    return context


class ServerIdentity:
    """The context of a server, made anew when a file of it has changed. Everything here reads files: not for the event loop.

    Args:
        config: names the files.

    Raises:
        ValueError: a file is not usable; the message names it.
    """

    def __init__(self, config: ServerTlsConfig) -> None:
        self._config = config
        self._files = [file for file in (config.cert, config.key, config.client_ca) if file is not None]
        self._seen = self._state()
        self.context = make_server_context(config)

    def renew(self) -> bool:
        """Read changed files again; return true if there were any. The context stays as it is if they are not usable.

        Raises:
            ValueError: a changed file is not usable; the message names it. It is tried again only after another change.
        """
        state = self._state()
        if state == self._seen:
            return False
        self._seen = state
        self.context = make_server_context(self._config)
        return True

    def _state(self) -> list[tuple[int, int, int] | None]:
        return [_state_of(file) for file in self._files]


def _state_of(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()  # of the target, where a link is replaced
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino
