"""TLS settings of a server, and contexts made from the certificate files as they are now."""

from __future__ import annotations

import ssl
from typing import Self

from pydantic import BaseModel, ConfigDict, SecretStr, model_validator

from edgerouter.tls import ReadableFile, load_authorities, load_identity


class ServerTlsConfig(BaseModel):
    """Certificate to present, and authorities of clients."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, hide_input_in_errors=True)

    cert: ReadableFile
    """PEM file of the server's certificate, with its chain."""
    key: ReadableFile | None = None
    """PEM file of the certificate's private key, if `cert` does not hold it."""
    key_password: SecretStr | None = None
    """Password of the private key."""
    client_ca: ReadableFile | None = None
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
