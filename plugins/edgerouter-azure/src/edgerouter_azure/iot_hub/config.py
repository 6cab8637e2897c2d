"""Configuration of the IoT Hub sink, and the fields that it shares with the source."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, SecretStr, model_validator

from edgerouter import Duration, Section, SinkConfig
from edgerouter.mqtt import BrokerSettings
from edgerouter_azure.credentials import awaits_secret
from edgerouter_azure.iot_hub.device import Device, checked_host, checked_id, parse_connection_string

_LONGEST_KEEP_ALIVE = 1177
"""Seconds: https://learn.microsoft.com/azure/iot/iot-mqtt-connect-to-iot-hub#default-keep-alive-time-out"""


class DeviceFields(Section):
    """Fields that name a device and the way to its hub."""

    connection_string: SecretStr | None = None
    """Connection string of the device, with `SharedAccessKey`, or with `x509=true` and `certificate`."""
    host: str | None = Field(default=None, examples=["plant.azure-devices.net"])
    """Instead of a connection string: host name of the hub, such as `plant.azure-devices.net`, with `device_id` and
    `certificate`."""
    device_id: str | None = Field(default=None, examples=["edge-7"])
    """Id of the device."""
    certificate: Path | None = Field(default=None, examples=["/etc/edgerouter/device.pem"])
    """PEM file of the device's certificate, with its chain, for X.509. Read at every connect."""
    key_file: Path | None = Field(default=None, examples=["/etc/edgerouter/device.key"])
    """PEM file of the certificate's key, if `certificate` does not hold it."""
    key_password: SecretStr | None = None
    """Password of the key."""
    transport: Literal["mqtt", "websocket"] = "mqtt"
    """`mqtt` uses port 8883; `websocket` uses port 443, where only that is open."""
    endpoint: str | None = Field(default=None, examples=["10.0.0.5:8883"])
    """Connect to this `host:port` instead of the hub or its gateway, for a private link."""
    ca_file: Path | None = Field(default=None, examples=["/etc/ssl/certs/plant-ca.pem"])
    """File of the certificate authorities to trust instead of the system's, for a gateway or a proxy of your own."""
    proxy: SecretStr | None = None
    """Proxy, `http://host:3128` or `socks5://host:1080`, with `user:password@` where it wants them."""
    token_lifetime: Duration = Field(default=3600.0, ge=1, le=86_400 * 365)
    """Validity of a token made from the device's key. The connection is replaced after four fifths of it, between two messages."""
    keep_alive: int = Field(default=240, ge=1, le=_LONGEST_KEEP_ALIVE)
    """Seconds of silence after which the connection is tested."""
    connect_timeout: Duration = Field(default=20.0, gt=0, le=300)
    """Time to connect, and for each answer while connecting."""

    @model_validator(mode="after")
    def _name_a_device(self) -> Self:
        if (self.connection_string is None) == (self.host is None):
            raise ValueError("either connection_string or host is needed")
        if (self.host is None) != (self.device_id is None):
            raise ValueError("host and device_id belong together; a connection string holds both")
        if self.key_file is not None and self.certificate is None:
            raise ValueError("key_file needs certificate")
        if self.connection_string is not None and awaits_secret(self.connection_string):
            return self
        device = self.device()
        if device.x509 and self.certificate is None:
            raise ValueError("certificate is needed: the device has no key")
        if not device.x509 and self.certificate is not None:
            raise ValueError("certificate and SharedAccessKey exclude each other; for X.509 write x509=true in place of the key")
        self.settings()
        return self

    @property
    def service_urls(self) -> Sequence[str]:
        device = self.device()
        host = device.gateway or device.host
        if self.endpoint is not None:
            return ()
        return (f"https://{host}",) if self.transport == "websocket" else (f"mqtts://{host}",)

    def device(self) -> Device:
        """Return the device.

        Raises:
            ValueError: the connection string is not one.
        """
        if self.connection_string is not None:
            return parse_connection_string(self.connection_string.get_secret_value())
        return Device(checked_host(self.host or ""), checked_id(self.device_id or ""), x509=True)

    def settings(self) -> BrokerSettings:
        """Return the settings of the MQTT connection.

        Raises:
            ValueError: they cannot be used; the message names the file or the field.
        """
        device = self.device()
        websocket = self.transport == "websocket"
        place = self.endpoint or f"{device.gateway or device.host}:{443 if websocket else 8883}"
        tls = {"ca": self.ca_file, "cert": self.certificate, "key": self.key_file, "key_password": self.key_password}
        return BrokerSettings.model_validate(
            {
                "url": f"wss://{place}/$iothub/websocket" if websocket else f"mqtts://{place}",
                "tls": tls,
                "proxy": self.proxy,
                "connect_timeout": self.connect_timeout,
                "keepalive": self.keep_alive,
            }
        )


class IotHubConfig(DeviceFields, SinkConfig):
    """Sends messages to Azure IoT Hub as a device, over MQTT."""

    qos: Literal[0, 1] = 1
    """Quality of service. With 0 the hub confirms nothing, and a lost connection loses what is in flight."""
    properties: bool = True
    """Pass topic, qos, the retained flag and MQTT 5 user properties on, as application properties."""
    content_type: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+/[\x20-\x7e]+$", examples=["application/json"])
    """Content type (`$.ct`) of messages that say none. Routes of the hub look into a body of `application/json` alone, with
    `content_encoding: utf-8`."""
    content_encoding: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+$", examples=["utf-8"])
    """Content encoding (`$.ce`), such as `utf-8`."""
    pack: Literal["none", "jsonl", "gzip"] = "none"
    """Put the messages of a batch into one message of the hub, which bills each 4 KiB begun: `jsonl`, as JSON Lines; `gzip`, as
    JSON Lines, compressed."""
    pack_framing: Literal["jsonl", "jsonl-exact"] = "jsonl"
    """Lines of a pack: `jsonl`, with a payload as JSON where it is JSON; `jsonl-exact`, with every payload as text, or as base64
    where it is not text."""

    @model_validator(mode="after")
    def _packs(self) -> Self:
        if self.pack == "none" and self.pack_framing != "jsonl":
            raise ValueError("pack_framing needs pack: jsonl or gzip")
        if self.pack != "none" and self.content_type is not None:
            raise ValueError("content_type is that of single messages; a pack has its own")
        return self
