"""The broker that is measured: its settings, the version of MQTT that it speaks, and the doctor's topic at it."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from typing import Final

from edgerouter.doctor.broker.session import Session, Wanted, new_client_id, opened
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.version import VersionChoice
from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.topics import matches, split_share

SUBJECT: Final = "broker"
_CONNECT_SECONDS: Final = 5.0
_HIDDEN: Final = "$edgerouter-doctor"
"""Topics that begin with `$` reach no subscription that begins with a wildcard: no router receives the probes."""
_PLAIN: Final = "edgerouter-doctor"
_ARRIVES_SECONDS: Final = 1.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One broker to measure."""

    name: str
    """Name of the source that uses it, or its address."""
    config: MqttSourceConfig
    filters: tuple[str, ...]
    """Topic filters of all sources of the configuration."""
    configured: bool
    """False for a broker that only the command line names: nothing is known about its use."""
    topic: str | None = None
    """Topic that the user has chosen for probes."""


@dataclass(frozen=True, slots=True)
class Target:
    """A broker that has let the doctor in."""

    asked: Asked
    config: MqttSourceConfig
    version5: bool
    unanswered: str = ""
    """Reason for which MQTT 5 failed, where the broker answers to 3.1.1 alone and `protocol` has the router speak 5."""

    @asynccontextmanager
    async def session(
        self, *, client_id: str | None = None, keep: bool = False, acknowledges: bool = False, receive_maximum: int | None = None
    ) -> AsyncIterator[Session]:
        """Open a session.

        Args:
            client_id: a new one by default.
            keep: continue the session that the broker may have, and let it keep the session at the end.
            acknowledges: acknowledge each message as it comes.
            receive_maximum: to offer.

        Raises:
            ConnectFailed: the broker is gone, or refuses the session.
        """
        wanted = Wanted(
            version5=self.version5,
            client_id=client_id or new_client_id(),
            clean=not keep,
            expiry=int(self.config.session_expiry) if keep else 0,
            receive_maximum=receive_maximum,
            acknowledges=acknowledges,
        )
        async with opened(self.config, wanted, keep=keep) as session:
            yield session

    async def forget(self, client_id: str) -> None:
        """Let the broker forget a session.

        Raises:
            ConnectFailed: the broker is gone.
        """
        async with self.session(client_id=client_id):
            pass


async def reach(asked: Asked) -> Target:
    """Find the version of MQTT that the broker speaks.

    Raises:
        ConnectFailed: it is not there, or refuses the doctor.
    """
    config = asked.config.model_copy(update={"connect_timeout": min(_CONNECT_SECONDS, asked.config.connect_timeout)})
    choice = VersionChoice(config.protocol, "", patient=False)
    while True:
        target = Target(asked, config, choice.version == "5")
        try:
            async with target.session():
                return target
        except ConnectFailed as error:
            if choice.failed(error):
                continue
            if target.version5 and error.code is None and (older := await _answers_to_3(target, error)):
                return older
            raise


async def _answers_to_3(target: Target, error: ConnectFailed) -> Target | None:
    """Return a target of MQTT 3.1.1, if the broker lets the doctor in; some leave a CONNECT of MQTT 5 unanswered."""
    older = replace(target, version5=False, unanswered=str(error))
    with suppress(ConnectFailed):
        async with older.session():
            return older
    return None


async def probe_topic(target: Target) -> tuple[str, str]:
    """Return a topic that the broker passes on and that no configured source receives, or else the reason why there is none."""
    chance = secrets.token_hex(6)
    if target.asked.topic is not None:
        topics = [f"{target.asked.topic.strip('/')}/{chance}"]
    else:
        topics = [f"{_HIDDEN}/{chance}"]
        plain = f"{_PLAIN}/{chance}"
        if target.asked.configured and not any(matches(split_share(each)[1], f"{plain}/x") for each in target.asked.filters):
            topics.append(plain)
    reason = ""
    for topic in topics:
        reason = await _is_passed_on(target, f"{topic}/way")
        if not reason:
            return topic, ""
    return "", f"{topics[-1]}/...: {reason}"


async def _is_passed_on(target: Target, topic: str) -> str:
    async with target.session(acknowledges=True) as session:
        refused = await session.subscribe(topic)
        if refused:
            return f"the subscription is refused: {refused}"
        await session.publish(topic, b"edgerouter doctor", seconds=_ARRIVES_SECONDS)
        if await session.arrive(1, quiet=_ARRIVES_SECONDS):
            return ""
        return session.lost or "a message that is published there does not arrive"
