"""Examines one broker: the measurements one after another, because they would disturb each other."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from edgerouter.doctor.broker import features, local, mosquitto, queue, restart, stated, window
from edgerouter.doctor.broker.session import Session
from edgerouter.doctor.broker.target import SUBJECT, Asked, Target, probe_topic, reach
from edgerouter.doctor.finding import Finding, finding
from edgerouter.mqtt.calls import ConnectFailed

STEP_SECONDS: Final = 40.0
"""Bound of one measurement."""
RESTART_SECONDS: Final = 600.0

Step = Callable[[Target, str, Session], Awaitable[list[Finding]]]
_STEPS: Final[tuple[tuple[str, Step], ...]] = (
    ("acknowledgement", features.latency),
    ("retained messages", features.retained),
    ("shared subscriptions", features.shared),
    ("packet size", features.packet_size),
    ("window", window.measure),
    ("queue", queue.measure),
)


@dataclass(frozen=True, slots=True)
class Restart:
    """The wish for a test over a restart of the broker."""

    ask: restart.Ask
    seconds: float = RESTART_SECONDS


async def examine(asked: Asked, *, broker_config: Path | None = None, over_restart: Restart | None = None) -> list[Finding]:
    """Measure a broker.

    Args:
        asked: the broker.
        broker_config: mosquitto's configuration file.
        over_restart: ask for a restart, and count what is left after it.
    """
    try:
        found = await _examined(asked, broker_config, over_restart)
    except ConnectFailed as error:
        found = [_unreachable(error)]
    return [_named(asked.name, each) for each in found]


async def _examined(asked: Asked, broker_config: Path | None, over_restart: Restart | None) -> list[Finding]:
    target = await reach(asked)
    async with target.session() as session:
        version = await stated.read_version(session)
        found = stated.findings(target, session, version)
    settings, problem = await asyncio.to_thread(_settings, target, version, broker_config)
    topic, reason = await probe_topic(target)
    if topic:
        found += await _measured(target, topic)
    else:
        found.append(_no_topic(reason))
    found += mosquitto.findings(version, settings, problem)
    if topic and over_restart is not None:
        found += await restart.measure(target, topic, ask=over_restart.ask, seconds=over_restart.seconds)
    return found


async def _measured(target: Target, topic: str) -> list[Finding]:
    found: list[Finding] = []
    for name, step in _STEPS:
        try:
            # each on a new connection: a broker that hangs up in one step does not spoil the next
            async with asyncio.timeout(STEP_SECONDS), target.session() as publisher:
                found += await step(target, topic, publisher)
        except (ConnectFailed, TimeoutError) as error:
            found.append(finding(SUBJECT, name, "unknown", str(error) or f"not measured within {STEP_SECONDS:g} s"))
    return found


def _settings(target: Target, version: str, broker_config: Path | None) -> tuple[mosquitto.Settings | None, str]:
    if broker_config is not None:
        try:
            return mosquitto.read(broker_config.absolute()), ""
        except OSError as error:
            return None, f"{broker_config}: {error.strerror}"
    address = target.config.address
    if not local.is_local(address.host) or (version and not mosquitto.is_mosquitto(version)):
        return None, ""
    with suppress(OSError):
        return local.find(address.port)
    return None, ""


def _unreachable(error: ConnectFailed) -> Finding:
    return finding(
        SUBJECT,
        "connection",
        "fail",
        str(error.error),
        "look at address, credentials and network; a broker that admits certain client ids only cannot be measured",
    )


def _no_topic(reason: str) -> Finding:
    return finding(
        SUBJECT,
        "probes",
        "unknown",
        f"nothing was measured by publishing: {reason}",
        "name a topic by `--topic` that this user may publish to and that nothing subscribes to",
    )


def _named(name: str, found: Finding) -> Finding:
    return Finding(
        subject=found.subject,
        name=finding(SUBJECT, f"{name}: {found.name}", found.verdict, "").name,
        verdict=found.verdict,
        evidence=found.evidence,
        change=found.change,
    )
