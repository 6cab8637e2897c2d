"""Hosts that a configuration names, for the measurements of names, certificates and clocks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from edgerouter.config.model import Configured, RouterConfig
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.plugin_config import PluginConfig
from edgerouter.tls import TlsConfig

_MOST: Final = 50
_PORTS: Final = {"http": 80, "https": 443, "mqtts": 8883, "amqps": 5671}
_AUTHORITIES: Final = ("ca_file", "ca_bundle", "root_ca")


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host that the router connects to."""

    owner: str
    """Part of the configuration that names it: `sinks.alerts`."""
    host: str
    port: int
    encrypted: bool
    dated: str = ""
    """URL whose answers have a header Date; empty where the host speaks no HTTP."""
    proxied: bool = False
    """Reached through a proxy, which resolves the name."""
    tls: TlsConfig = field(default_factory=TlsConfig, compare=False)

    @property
    def address(self) -> str:
        """Host and port."""
        return _address(self.host, self.port)


def endpoints(config: RouterConfig) -> list[Endpoint]:
    """Return the hosts of a configuration, each address once."""
    found: dict[tuple[str, bool], Endpoint] = {}
    for section, member in config.members():
        for endpoint in _of(f"{section}.{member.name}", member):
            found.setdefault((endpoint.address, endpoint.encrypted), endpoint)
    return list(found.values())[:_MOST]


def of_broker(owner: str, settings: BrokerSettings) -> Endpoint:
    """Return the endpoint of a broker."""
    address = settings.address
    return Endpoint(
        owner,
        address.host,
        address.port,
        encrypted=address.tls,
        proxied=settings.proxy is not None,
        tls=settings.tls or TlsConfig(),
    )


def _of(owner: str, member: Configured) -> Iterator[Endpoint]:
    if isinstance(member.config, BrokerSettings):
        yield of_broker(owner, member.config)
        return
    tls, proxied = _trust(member.config), getattr(member.config, "proxy", None) is not None
    for url in (*_urls(member.config), *_implied(member.config)):
        try:
            parts = urlsplit(url)
            host, port, web = parts.hostname, parts.port or _PORTS.get(parts.scheme), parts.scheme in ("http", "https")
        except ValueError:
            continue
        if host and "{" not in host and port is not None and parts.scheme in _PORTS:
            yield Endpoint(
                owner,
                host,
                port,
                encrypted=parts.scheme != "http",
                dated=f"{parts.scheme}://{_address(host, port)}/" if web else f"https://{_address(host, 443)}/",
                proxied=proxied,
                tls=tls,
            )


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _trust(config: BaseModel) -> TlsConfig:
    """Return the authorities that a plugin's configuration names, under one of its names for them."""
    tls = getattr(config, "tls", None)
    if isinstance(tls, TlsConfig):
        return tls
    named = next((file for name in _AUTHORITIES if (file := getattr(config, name, None)) is not None), None)
    with suppress(ValueError):  # not readable: the finding about the file says so
        return TlsConfig(ca=named)
    return TlsConfig()


def _implied(config: PluginConfig) -> Sequence[str]:
    """Return the addresses that follow from other fields, such as a region."""
    with suppress(ValueError, AttributeError):  # while secrets are awaited, they are not known
        return config.service_urls
    return ()


def _urls(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value: Any = getattr(model, name, None)  # while secrets are awaited, a model may be without some
        if isinstance(value, BaseModel):
            yield from _urls(value)
        elif isinstance(value, str) and value.startswith(("http://", "https://")):
            yield value
