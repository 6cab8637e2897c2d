"""Hosts that a configuration names, for the measurements of names, certificates and clocks."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import BaseModel

from edgerouter.config.model import Configured, RouterConfig
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.tls import TlsConfig

_MOST: Final = 50
_PORTS: Final = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One host that the router connects to."""

    owner: str
    """Part of the configuration that names it: `sinks.alerts`."""
    host: str
    port: int
    encrypted: bool
    web: bool
    """Speaks HTTP from the first byte."""
    proxied: bool = False
    """Reached through a proxy, which resolves the name."""
    tls: TlsConfig = field(default_factory=TlsConfig, compare=False)

    @property
    def address(self) -> str:
        """Host and port."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def endpoints(config: RouterConfig) -> list[Endpoint]:
    """Return the hosts of a configuration, each address once; a service that is known by its region alone names none."""
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
        web=False,
        proxied=settings.proxy is not None,
        tls=settings.tls or TlsConfig(),
    )


def _of(owner: str, member: Configured) -> Iterator[Endpoint]:
    if isinstance(member.config, BrokerSettings):
        yield of_broker(owner, member.config)
        return
    tls = getattr(member.config, "tls", None)
    proxied = getattr(member.config, "proxy", None) is not None
    for url in _urls(member.config):
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port or _PORTS.get(parts.scheme)
        except ValueError:
            continue
        if host and "{" not in host and port is not None and parts.scheme in _PORTS:
            yield Endpoint(
                owner,
                host,
                port,
                encrypted=parts.scheme == "https",
                web=True,
                proxied=proxied,
                tls=tls if isinstance(tls, TlsConfig) else TlsConfig(),
            )


def _urls(model: BaseModel) -> Iterator[str]:
    for name in type(model).model_fields:
        value: Any = getattr(model, name, None)  # while secrets are awaited, a model may be without some
        if isinstance(value, BaseModel):
            yield from _urls(value)
        elif isinstance(value, str) and value.startswith(("http://", "https://")):
            yield value
