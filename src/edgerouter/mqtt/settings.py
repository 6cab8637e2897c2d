"""Settings shared by all MQTT clients of the router: address, credentials, TLS."""

from __future__ import annotations

from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator, model_validator

from edgerouter.field_docs import FieldDocs
from edgerouter.masking import protect
from edgerouter.mqtt.address import BrokerAddress, parse_address, split_credentials
from edgerouter.mqtt.proxy import Proxy, parse_proxy
from edgerouter.tls import ReadableFile, TlsConfig
from edgerouter.units import Duration
from edgerouter.weak_points import warn, weak_points


class BrokerSettings(BaseModel):
    """To be mixed into the configuration of a source or a sink."""

    # the URL may hold a password
    model_config = ConfigDict(hide_input_in_errors=True, use_attribute_docstrings=FieldDocs.wanted)

    url: str = Field(examples=["mqtts://broker.plant.example:8883"])
    """The broker: `mqtt://host:1883`, `mqtts://host:8883` (TLS), `ws://host:80/mqtt` or `wss://host:443/mqtt`. A bare host is
    `mqtt://`. May hold `user:password@`."""
    username: str | None = Field(default=None, examples=["router"])
    """User name."""
    password: SecretStr | None = None
    """Password."""
    password_file: ReadableFile | None = Field(default=None, examples=["/run/secrets/mqtt"])
    """File that holds the password; read at every connect, so a rotated password is picked up."""
    tls: TlsConfig | None = None
    """Certificates, for `mqtts://` and `wss://`."""
    websocket_headers: dict[str, SecretStr] = Field(default_factory=dict, examples=[{"X-Plant": "north"}])
    """HTTP headers to add to a WebSocket's request; their values are never shown."""
    proxy: SecretStr | None = Field(default=None, examples=["http://proxy.plant.example:3128"])
    """Proxy to connect through: `http://host:3128` (HTTP CONNECT) or `socks5://host:1080`, with `user:password@` where it wants
    them. The proxy resolves the broker's name."""
    connect_timeout: Duration = Field(default=10.0, gt=0, le=300)
    """Time for a connection, and for each answer of the broker."""
    keepalive: int = Field(default=60, ge=1, le=65_535)
    """Seconds of silence after which the link is tested; a dead one is noticed within three times this."""

    @model_validator(mode="before")
    @classmethod
    def _take_credentials_out_of_the_url(cls, data: Any) -> Any:
        if not isinstance(data, dict) or not isinstance(data.get("url"), str):
            return data
        url, username, password = split_credentials(data["url"])
        if username is None:
            return data
        if data.get("username") is not None or (password is not None and data.get("password") is not None):
            raise ValueError("credentials stand both in `url` and in `username`, `password`; write them once")
        found = {"url": url, "username": username} | ({"password": password} if password is not None else {})
        return data | found

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, value: str) -> str:
        parse_address(value)
        return value

    @field_validator("proxy")
    @classmethod
    def _is_a_proxy(cls, value: SecretStr | None) -> SecretStr | None:
        if value is not None:
            parse_proxy(value.get_secret_value())
        return value

    @model_validator(mode="after")
    def _let_us_in(self) -> Self:
        if self.tls is not None and not self.address.tls:
            raise ValueError("`tls` is given but the url says no TLS; write mqtts:// or wss://")
        if self.websocket_headers and self.address.transport != "websockets":
            raise ValueError("`websocket_headers` needs a ws:// or wss:// url")
        if self.password is not None and self.password_file is not None:
            raise ValueError("`password` and `password_file` exclude each other")
        if (self.password is not None or self.password_file is not None) and self.username is None:
            raise ValueError("a password needs `username`")
        return self

    @property
    def address(self) -> BrokerAddress:
        """Address in the URL."""
        return parse_address(self.url)

    def read_proxy(self) -> Proxy | None:
        """Return the proxy with its credentials."""
        return parse_proxy(self.proxy.get_secret_value()) if self.proxy is not None else None

    def read_websocket_headers(self) -> dict[str, str]:
        """Return the headers with their values, to be sent."""
        return {name: value.get_secret_value() for name, value in self.websocket_headers.items()}

    def warn_of_weak_points(self, log: Any, name: str) -> None:
        """Log ways in which others can read or change what passes."""
        points = weak_points(
            self.address.host,
            encrypted=self.address.tls,
            insecure=self.tls is not None and self.tls.insecure,
            secret="password" if self.password is not None or self.password_file is not None else "",
            instead="mqtts:// or wss://",
        )
        warn(points, log, name, str(self.address))

    @property
    def hint_when_hung_up(self) -> str:
        """Questions to check when the broker closes the connection instead of answering."""
        if self.address.tls and (self.tls is None or self.tls.cert is None):
            return "is it one, and does it want a certificate of ours (`tls.cert`)?"
        return "is it one, and does it expect TLS or another port?"

    def read_password(self) -> str | None:
        """Return the password as it is now. Reads a file: not for the event loop.

        Raises:
            ValueError: the file cannot be read.
        """
        if self.password_file is None:
            return self.password.get_secret_value() if self.password is not None else None
        try:
            password = self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        except OSError as error:
            raise ValueError(f"{self.password_file}: {error.strerror}") from None
        protect(password)
        return password
