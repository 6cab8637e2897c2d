"""TLS settings of a client, and contexts made from the certificate files as they are now."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from edgerouter.section import Section

__all__ = ["ReadableFile", "TlsConfig", "make_context"]


def _readable(path: Path) -> Path:
    """Check a file when the configuration is loaded, not at the first connect in production.

    Raises:
        ValueError: the file is missing, or not readable by this user.
    """
    if not path.is_file():
        raise ValueError(f"no such file: {path}")
    if not os.access(path, os.R_OK):
        raise ValueError(f"not readable by this user: {path}")
    return path


ReadableFile = Annotated[Path, AfterValidator(_readable)]
"""A field that names a readable file."""


class TlsConfig(Section, hide_input_in_errors=True):
    """Certificates to trust and to present. The files are read again at every connect."""

    ca: ReadableFile | None = Field(default=None, examples=["/etc/edgerouter/ca.pem"])
    """PEM file of the authorities that may sign the peer's certificate; those of the system by default."""
    cert: ReadableFile | None = Field(default=None, examples=["/etc/edgerouter/client.pem"])
    """PEM file of the client's certificate, with its chain, for mutual TLS."""
    key: ReadableFile | None = Field(default=None, examples=["/etc/edgerouter/client.key"])
    """PEM file of the certificate's private key, if `cert` does not hold it."""
    key_password: SecretStr | None = None
    """Password of the private key."""
    server_name: str | None = Field(default=None, examples=["broker.plant.example"])
    """Name that the peer's certificate must hold, if it differs from the host of the URL."""
    insecure: bool = False
    """Accept any certificate. Anyone on the network path can then read and change all traffic."""
    alpn: tuple[str, ...] = Field(default=(), examples=[["x-amzn-mqtt-ca"]])
    """Protocol names to offer, for example `x-amzn-mqtt-ca` for AWS IoT on port 443."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if self.key is not None and self.cert is None:
            raise ValueError("`key` needs `cert`")
        make_context(self)
        return self


class ClientContext(ssl.SSLContext):
    """A context with two settings that the clients do not expose, or expose differently."""

    server_name: str | None = None
    """Server name to ask for instead of the host connected to."""
    wrapped: ssl.SSLSocket | None = None
    """Socket created last; the MQTT client drops it without closing it when the handshake fails."""

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        if self.server_name is not None:
            options["server_hostname"] = self.server_name
        self.wrapped = super().wrap_socket(sock, *args, **options)
        return self.wrapped

    def wrap_bio(
        self,
        incoming: ssl.MemoryBIO,
        outgoing: ssl.MemoryBIO,
        server_side: bool = False,
        server_hostname: Any = None,
        session: Any = None,
    ) -> ssl.SSLObject:
        """Wrap as event loops do: they handshake through memory buffers."""
        return super().wrap_bio(incoming, outgoing, server_side, self.server_name or server_hostname, session)


def make_context(config: TlsConfig) -> ClientContext:
    """Create a client's context from the files as they are now. Reads files: not for the event loop.

    Raises:
        ValueError: a file is not usable; the message names it.
    """
    context = ClientContext(ssl.PROTOCOL_TLS_CLIENT)
    context.server_name = config.server_name
    if config.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif config.ca is None:
        context.load_default_certs()
    else:
        load_authorities(context, config.ca)
    if config.cert is not None:
        load_identity(context, config.cert, config.key, config.key_password)
    if config.alpn:
        context.set_alpn_protocols(list(config.alpn))
    return context


def load_authorities(context: ssl.SSLContext, file: Path) -> None:
    """Trust the authorities of a file.

    Raises:
        ValueError: the file is not usable.
    """
    try:
        context.load_verify_locations(file)
    except (ssl.SSLError, OSError) as error:
        raise ValueError(f"{file} holds no usable certificates: {_reason(error)}") from None


def load_identity(context: ssl.SSLContext, cert: Path, key: Path | None, key_password: SecretStr | None) -> None:
    """Present a certificate with its private key.

    Raises:
        ValueError: a file is not usable; the message names it.
    """
    # without a password OpenSSL would prompt for one on the terminal and block
    password = key_password.get_secret_value() if key_password is not None else ""
    try:
        context.load_cert_chain(cert, key, password)
    except (ssl.SSLError, OSError) as error:
        files = f"{cert} and {key}" if key is not None else str(cert)
        reason = "the key needs `key_password`" if not password and _is_encrypted(key or cert) else _reason(error)
        raise ValueError(f"{files}: no usable certificate with its private key: {reason}") from None


def _is_encrypted(key: Path) -> bool:
    try:
        return b"ENCRYPTED" in key.read_bytes()
    except OSError:
        return False


def _reason(error: OSError) -> str:
    if isinstance(error, ssl.SSLError):
        return (error.reason or "not PEM").lower().replace("_", " ")
    return error.strerror or type(error).__name__
