"""The MQTT sink's configuration."""

from __future__ import annotations

from typing import Any, Literal, Self

from pydantic import ConfigDict, Field, SecretStr, field_validator, model_validator

from edgerouter.mqtt_address import BrokerAddress, parse_address, split_credentials
from edgerouter.sink import SinkConfig
from edgerouter.sinks.mqtt_topic import TopicText
from edgerouter.tls import ReadableFile, TlsConfig
from edgerouter.units import Duration


class MqttSinkConfig(SinkConfig):
    """Publishes messages to an MQTT broker, 3.1.1 or 5. Not to the broker and topic they came from: that would be a loop."""

    # the URL may hold a password
    model_config = ConfigDict(hide_input_in_errors=True)

    url: str
    """The broker: `mqtt://host:1883`, `mqtts://host:8883` (TLS), `ws://host:80/mqtt` or `wss://host:443/mqtt`. A bare host is
    `mqtt://`. May hold `user:password@`."""
    topic: TopicText = "{topic}"
    """Template of the topic to publish to, such as `sites/{host}/{topic}`. Placeholders: `{topic}`, `{topic[0]}`, `{topic[-1]}`,
    `{topic[1:]}`, `{property[name]}`, `{host}`, `{sink}`, `{spool}`."""
    qos: Literal[0, 1] = 1
    """Quality of service. With 0 nobody confirms a message, and a lost connection loses what was under way. There is no 2: what is
    tried again after a lost connection would be a new message all the same."""
    retain: Literal["never", "always", "same"] = "never"
    """Whether the broker keeps the last message of each topic: never, always, or where the message came in retained."""
    id_property: str | None = "edgerouter-id"
    """User property that carries the message's id, so that consumers can drop duplicates (MQTT 5)."""
    client_id: str | None = Field(default=None, min_length=1, max_length=65_535)
    """Client id; by default a new one for each start of the sink. Each client of a broker needs its own."""
    protocol: Literal["auto", "5", "3.1.1"] = "auto"
    """MQTT version; `auto` tries 5 and falls back to 3.1.1 when the broker does not take it. Only 5 carries properties, and only
    with 5 a broker can say that it did not take a message."""
    username: str | None = None
    """User name."""
    password: SecretStr | None = None
    """Password."""
    password_file: ReadableFile | None = None
    """File that holds the password; read at every connect, so a rotated password is picked up."""
    tls: TlsConfig | None = None
    """Certificates, for `mqtts://` and `wss://`."""
    websocket_headers: dict[str, str] = Field(default_factory=dict)
    """HTTP headers to add to a WebSocket's request."""
    keepalive: int = Field(default=60, ge=1, le=65_535)
    """Seconds of silence after which the link is tested."""
    connect_timeout: Duration = Field(default=10.0, gt=0, le=300)
    """Time for a connection."""
    max_inflight: int = Field(default=100, ge=1, le=65_535)
    """Most messages under way without a confirmation; fewer where an MQTT 5 broker says so."""

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

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
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
        """The URL, taken apart."""
        return parse_address(self.url)

    def read_password(self) -> str | None:
        """The password as it is now. Reads a file: not for the event loop.

        Raises:
            OSError: the file cannot be read.
        """
        if self.password_file is not None:
            return self.password_file.read_text(encoding="utf-8").rstrip("\r\n")
        return self.password.get_secret_value() if self.password is not None else None
