"""Brokers that requests may name, and how to reach each."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, ConfigDict, Field, PrivateAttr, ValidationError, model_validator

from edgerouter import Section, Unavailable
from edgerouter.mqtt import BrokerSettings
from edgerouter_cloudsync.names import is_host

CERTIFICATES: Final = Path("/var/edge-orchestration/certs")
"""Folder of CloudSync's certificate files."""
_FILES: Final = {"ca": "ca-crt.pem", "cert": "hen-crt.pem", "key": "hen-key.pem"}
_PLAIN_PORT, _TLS_PORT = 1883, 8883


def _name(text: str) -> str:
    host, _, port = text.rpartition(":")
    if not is_host(text) and not (port.isdecimal() and is_host(host)):
        raise ValueError("should be what requests send as `url`: a host such as broker.example, possibly with a port")
    return text


class Broker(BrokerSettings):
    """A broker with its own settings."""

    model_config = ConfigDict(extra="forbid")


class BrokersConfig(Section):
    """Fields that the source and the sink have in common."""

    # a URL may hold a password
    model_config = ConfigDict(hide_input_in_errors=True)

    brokers: dict[Annotated[str, AfterValidator(_name)], Broker | None] | None = None
    """Brokers that requests may name, by the name that they send as `url`; empty values stand for the default port. A value
    has the fields of the `mqtt` sink's connection: `url`, `username`, `password`, `password_file`, `tls`, ... Without this list any
    host is allowed, for callers on this machine only. Source and sink need the same list."""
    secure: bool = False
    """Port 8883 and mutual TLS to brokers without their own `url`, with the certificate files in `certificates`; on the source
    also tokens for callers. The variable `SECURE` of CloudSync."""
    certificates: Path = Field(default=CERTIFICATES, examples=["/etc/edgerouter/certs"])
    """With `secure`: folder of `ca-crt.pem`, `hen-crt.pem` and `hen-key.pem`."""
    port: int | None = Field(default=None, ge=1, le=65_535, examples=[8883])
    """Port of brokers without their own `url`: 1883, and with `secure` 8883."""
    connect_timeout: float = Field(default=10.0, gt=0, le=300)
    """Seconds for a connection to brokers without their own `url`, and for each answer."""

    _default: BrokerSettings = PrivateAttr()

    @model_validator(mode="after")
    def _make_default(self) -> Self:
        fields: dict[str, Any] = {"url": "mqtt://default", "connect_timeout": self.connect_timeout}
        if self.secure:
            files = {field: self.certificates / name for field, name in _FILES.items()}
            for file in files.values():
                if not file.is_file():
                    raise ValueError(f"`secure` needs {file}; put it there, or name another folder in `certificates`")
            fields |= {"url": "mqtts://default", "tls": files}
        try:
            self._default = BrokerSettings.model_validate(fields)
        except ValidationError as error:
            raise ValueError(f"`secure`: {error.errors()[0]['msg']}") from None
        return self

    def settings_of(self, broker: str) -> BrokerSettings | None:
        """Return how to reach a broker; `None` if it is not allowed."""
        if self.brokers is not None:
            if broker not in self.brokers:
                return None
            if (own := self.brokers[broker]) is not None:
                return own
        elif not is_host(broker):
            return None
        return self._default.model_copy(update={"url": self._url(broker)})

    def shown(self, broker: str) -> str:
        """Return the broker as CloudSync's answers name it: `tcp://host:port`."""
        settings = self.settings_of(broker)
        if settings is None:
            return broker
        return f"{'tcps' if settings.address.tls else 'tcp'}://{settings.address}"

    def _url(self, broker: str) -> str:
        host, _, port = broker.rpartition(":")
        if not (host and port.isdecimal() and is_host(host) and not host.endswith(":")) or is_host(broker):
            host, port = broker, str(self.port or (_TLS_PORT if self.secure else _PLAIN_PORT))
        host = f"[{host.strip('[]')}]" if ":" in host else host
        return f"{'mqtts' if self.secure else 'mqtt'}://{host}:{port}"


async def find(settings: BrokerSettings) -> None:
    """Find out whether the broker's port answers at all, before a client takes a thread to connect.

    Clients connect in the threads that all of the router shares. A broker that swallows packets would hold one for each attempt,
    and a few of them would keep all others from connecting.

    Raises:
        Unavailable: no connection within the time.
    """
    if settings.proxy is not None:
        return
    address = settings.address
    try:
        async with asyncio.timeout(settings.connect_timeout):
            _, writer = await asyncio.open_connection(address.host, address.port)
    except TimeoutError:
        raise Unavailable(f"{address} cannot be reached: the broker does not answer") from None
    except OSError as error:
        raise Unavailable(f"{address} cannot be reached: {error.strerror or error}") from None
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
