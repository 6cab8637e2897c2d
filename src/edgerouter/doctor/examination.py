"""The whole examination: which subjects there are, and all of them at once where none disturbs another."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from edgerouter.config.model import RouterConfig
from edgerouter.config.references import resolve
from edgerouter.doctor import certificates, names
from edgerouter.doctor.broker import examination as broker
from edgerouter.doctor.broker.examination import Restart
from edgerouter.doctor.broker.target import SUBJECT as BROKER
from edgerouter.doctor.broker.target import Asked
from edgerouter.doctor.endpoints import Endpoint, endpoints, of_broker
from edgerouter.doctor.finding import Finding, finding
from edgerouter.doctor.in_thread import in_thread
from edgerouter.doctor.machine import clock, limits, process, storage
from edgerouter.errors import Unavailable
from edgerouter.sources.mqtt.config import MqttSourceConfig

SUBJECTS: Final = ("clock", "dns", "tls", "disk", "memory", "cpu", "files", "broker", "peers")
"""In the order of the report."""
_SECONDS: Final = 60.0
"""Bound of a subject that sets no other."""
_BROKER_SECONDS: Final = 300.0
_THREAD_SECONDS: Final = 10.0

Probe = Callable[[], Awaitable[list[Finding]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """The wishes of the user."""

    config: RouterConfig | None = None
    brokers: tuple[MqttSourceConfig, ...] = ()
    """Brokers of the command line, in place of those of the configuration."""
    only: Collection[str] = SUBJECTS
    topic: str | None = None
    broker_config: Path | None = None
    restart: Restart | None = None
    peers: Probe | None = field(default=None, compare=False)
    """Opens each source and sink, as `check --connect` does."""


async def examine(wish: Wish) -> list[Finding]:
    """Measure everything that was asked for.

    Returns:
        The findings, by subject in a fixed order.
    """
    everywhere = _endpoints(wish)
    spool = None if wish.config is None else wish.config.spool.path
    router = await in_thread(lambda: process.measured(spool), _THREAD_SECONDS)
    probes: dict[str, Probe] = {
        "clock": lambda: clock.examine(everywhere),
        "dns": lambda: names.examine(everywhere),
        "tls": lambda: certificates.examine(everywhere, wish.config),
        "disk": lambda: _disks(wish.config),
        "memory": lambda: in_thread(lambda: limits.memory(wish.config, router), _THREAD_SECONDS),
        "cpu": lambda: in_thread(lambda: limits.cpu(router), _THREAD_SECONDS),
        "files": lambda: in_thread(lambda: limits.files(wish.config, router), _THREAD_SECONDS),
        "broker": lambda: _brokers(wish),
    }
    if wish.peers is not None:
        probes["peers"] = wish.peers
    # what takes processor time or the disk would lengthen what is timed elsewhere
    found: dict[str, list[Finding]] = {}
    for together in (("clock", "dns", "tls", "memory", "cpu", "files"), ("disk",), ("broker",), ("peers",)):
        chosen = [subject for subject in together if subject in wish.only and subject in probes]
        answers = await asyncio.gather(*(_in_time(subject, probes[subject], _bound(subject, wish)) for subject in chosen))
        found |= dict(zip(chosen, answers, strict=True))
    return [each for subject in SUBJECTS for each in found.get(subject, ())]


def _bound(subject: str, wish: Wish) -> float:
    if subject != "broker":
        return _SECONDS
    return _BROKER_SECONDS + (2 * wish.restart.seconds if wish.restart is not None else 0)


async def _in_time(subject: str, probe: Probe, seconds: float) -> list[Finding]:
    """Return what a probe finds; a fault of it is a finding, and stops no other."""
    try:
        async with asyncio.timeout(seconds):
            return await probe()
    except TimeoutError:
        return [finding(subject, "time", "unknown", f"not measured within {seconds:g} s")]
    except Exception as error:  # noqa: BLE001  (a machine may lack anything that a probe reads)
        return [finding(subject, "fault", "unknown", f"{type(error).__name__}: {error}")]


async def _disks(config: RouterConfig | None) -> list[Finding]:
    return [] if config is None else await storage.examine(config)


def _endpoints(wish: Wish) -> list[Endpoint]:
    if wish.brokers:
        return [of_broker(str(each.address), each) for each in wish.brokers]
    return [] if wish.config is None else endpoints(wish.config)


async def _brokers(wish: Wish) -> list[Finding]:
    """Measure one broker after another: several may be the same machine."""
    sources = (
        [] if wish.config is None else [each for each in wish.config.sources if issubclass(each.plugin.Config, MqttSourceConfig)]
    )
    found: list[Finding] = []
    configs: dict[str, MqttSourceConfig] = {}
    for source in sources:
        assert wish.config is not None, "it has sources"
        try:
            configs[source.name] = await resolve(source, wish.config.secret_stores, probe=True)
        except Unavailable as error:
            found.append(finding(BROKER, source.name, "unknown", str(error), "look at the secret store"))
    for asked in _asked(wish, configs):
        found += await broker.examine(asked, broker_config=wish.broker_config, over_restart=wish.restart)
    return found


def _asked(wish: Wish, sources: Mapping[str, MqttSourceConfig]) -> Iterable[Asked]:
    """Return the brokers to measure, each once."""
    filters = tuple(each.topic for source in sources.values() for each in source.topics)
    if wish.brokers:
        return [Asked(str(each.address), each, filters, configured=bool(sources), topic=wish.topic) for each in wish.brokers]
    found: dict[tuple[str, str | None], Asked] = {}
    for name, source in sources.items():
        key = (str(source.address), source.username)
        found.setdefault(key, Asked(name, source, filters, configured=True, topic=wish.topic))
    return found.values()
