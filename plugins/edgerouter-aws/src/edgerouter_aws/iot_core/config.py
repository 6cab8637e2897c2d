"""Configuration of the IoT Core sink, and the fields that it shares with the source."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, field_validator, model_validator

from edgerouter import SinkConfig
from edgerouter.mqtt import BrokerSettings
from edgerouter_aws.iot_core.topic import checked_template
from edgerouter_aws.session import AwsSettings

_ALPN: Final = "x-amzn-mqtt-ca"
"""Lets MQTT with a client certificate share port 443: https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html"""
_REGION: Final = re.compile(r"\.iot\.([a-z0-9-]+)\.(?:amazonaws|vpce)")
_LONGEST_ID: Final = 128
_LONGEST_KEEP_ALIVE: Final = 1200

TopicText = Annotated[str, AfterValidator(checked_template)]
"""A configuration field that holds a topic template."""


class IotCoreFields(AwsSettings):
    """Fields that name an endpoint of AWS IoT Core, and who connects to it.

    With `certificate` the device logs in by mutual TLS; without it the credentials sign a request for a WebSocket.
    """

    endpoint: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9.-]*$", examples=["a1b2c3-ats.iot.eu-west-1.amazonaws.com"])
    """Host name of the account's endpoint, such as `a1b2c3-ats.iot.eu-west-1.amazonaws.com` (`aws iot describe-endpoint
    --endpoint-type iot:Data-ATS`)."""
    certificate: Path | None = Field(default=None, examples=["/etc/edgerouter/device.pem.crt"])
    """PEM file of the device's certificate. Read at every connect. Without it, the credentials of the other AWS sinks are used."""
    key_file: Path | None = Field(default=None, examples=["/etc/edgerouter/private.pem.key"])
    """PEM file of the certificate's private key."""
    key_password: SecretStr | None = None
    """Password of the key."""
    root_ca: Path | None = Field(default=None, examples=["/etc/edgerouter/AmazonRootCA1.pem"])
    """File of the certificate authorities to trust; those of the system by default, which hold Amazon's."""
    port: Literal[8883, 443] | None = None
    """Port: 8883 with a certificate (default), or 443, where only that is open. Signed requests always use 443."""
    address: str | None = Field(default=None, examples=["vpce-0a1b2c.iot.eu-west-1.vpce.amazonaws.com:443"])
    """Connect to this `host:port` instead of the endpoint, whose certificate is expected there: a VPC endpoint, or a tunnel."""
    client_id: str | None = Field(default=None, min_length=1, max_length=_LONGEST_ID, examples=["edge-7"])
    """Client id, which the policy has to allow; by default `edgerouter-`, the beginning of the spool's id, and the name. Each
    client of an account and region needs a unique one."""
    protocol: Literal["5", "3.1.1"] = "5"
    """MQTT version. 5 carries properties and the reason of a refusal."""
    keep_alive: int = Field(default=60, ge=30, le=_LONGEST_KEEP_ALIVE)
    """Seconds of silence after which the connection is tested."""

    @property
    def service_urls(self) -> Sequence[str]:
        """The endpoint, where its port for HTTPS is the one in use: the other asks for a certificate."""
        return () if self.address or (self.certificate and self.port != 443) else (f"https://{self.endpoint}",)

    @field_validator("endpoint")
    @classmethod
    def _is_of_data(cls, value: str) -> str:
        if ".credentials.iot." in value:
            raise ValueError("this endpoint is for credentials; use the one of type iot:Data-ATS")
        return value

    @model_validator(mode="after")
    def _can_log_in(self) -> Self:
        if (self.certificate is None) != (self.key_file is None):
            raise ValueError("certificate and key_file belong together; one of them is missing")
        if self.certificate is None and self.port == 8883:
            raise ValueError("port 8883 needs certificate and key_file; signed requests use 443")
        if self.certificate is None and self.signing_region is None:
            raise ValueError("region is needed: the endpoint does not name it")
        self.settings()
        return self

    @property
    def signing_region(self) -> str | None:
        """Region of the endpoint."""
        match = _REGION.search(self.endpoint)
        return self.region or (match[1] if match else None)

    def settings(self) -> BrokerSettings:
        """Return the settings of the MQTT connection.

        Raises:
            ValueError: they cannot be used; the message names the file.
        """
        tls: dict[str, Any] = {"ca": self.root_ca or self.ca_bundle}
        if self.address is not None:
            tls["server_name"] = self.endpoint
        if self.certificate is None:
            url = f"wss://{self.address or f'{self.endpoint}:443'}/mqtt"
        else:
            url = f"mqtts://{self.address or f'{self.endpoint}:{self.port or 8883}'}"
            tls |= {"cert": self.certificate, "key": self.key_file, "key_password": self.key_password}
            if self.port == 443:
                tls["alpn"] = (_ALPN,)
        return BrokerSettings.model_validate(
            {
                "url": url,
                "tls": tls,
                "proxy": self.proxy,
                "connect_timeout": self.connect_timeout,
                "keepalive": self.keep_alive,
            }
        )


class IotCoreConfig(IotCoreFields, SinkConfig):
    """Publishes messages to AWS IoT Core."""

    topic: TopicText = Field(default="{topic}", examples=["dt/plant/{host}/{topic}"])
    """Topic to publish to, a template (docs/reference/templates.md) such as `dt/plant/{host}/{topic}`, or
    `$aws/rules/RULE/{topic}` for Basic Ingest, which costs no messaging. A topic has 8 levels and 256 bytes at most; the three
    levels of Basic Ingest do not count."""
    qos: Literal[0, 1] = 1
    """Quality of service. With 0 the service confirms nothing, and a lost connection loses what is in flight."""
    retain: Literal["never", "always", "same"] = "never"
    """Publish messages as retained: never, always, or if they were received as retained."""
    id_property: str | None = Field(default="edgerouter-id", examples=["message-id"])
    """User property that carries the message's id, so that consumers can deduplicate (MQTT 5)."""
