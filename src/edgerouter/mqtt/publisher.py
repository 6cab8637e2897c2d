"""Publishes to a broker, over a connection that is made anew when it was lost."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import Final, Literal

from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.handshakes import Handshakes
from edgerouter.mqtt.incoming import Subscriber
from edgerouter.mqtt.link import Link, Policy
from edgerouter.mqtt.login import MakeLogin
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.mqtt.version import VersionChoice

_MOST_UNFINISHED: Final = 10_000
"""Handshakes of QoS 2 that a lost connection cut, and that no later attempt has continued."""


class Publisher:
    """Keeps a connection, and the handshakes of QoS 2 that outlive one.

    MQTT 5 and 3.1.1, QoS 0, 1 and 2. The password and the certificates are read before each connect.

    Args:
        settings: how to reach the broker.
        policy: how to publish.
        protocol: version of MQTT; `auto` tries 5 and falls back to 3.1.1.
        name: for the names of tasks.
        make_login: makes the credentials anew before each connect, in place of those of the settings. A connection whose login
            ends is replaced between two messages: nothing more is sent, what is in flight is answered, and it is made anew.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        policy: Policy,
        protocol: Literal["auto", "5", "3.1.1"],
        name: str,
        *,
        make_login: MakeLogin | None = None,
    ) -> None:
        self.largest_packet: int | None = None
        """Bytes of a packet that the broker takes, once connected."""
        self._settings = settings
        self._policy = policy
        self._name = name
        self._make_login = make_login
        self._subscriber: Subscriber | None = None
        self._version = VersionChoice(protocol, "", patient=False)
        self._connecting: asyncio.Task[Link] | None = None
        self._handshakes = Handshakes(min(2 * policy.max_inflight, _MOST_UNFINISHED))

    @property
    def version5(self) -> bool:
        """MQTT 5 is spoken, or tried next."""
        return self._version.version == "5"

    def subscribe(self, subscriber: Subscriber | None) -> None:
        """Let the next connection receive for this subscriber, in a session that the broker keeps; a present one is replaced."""
        self._subscriber = subscriber
        task = self._connecting
        if task is not None and task.done() and not task.cancelled() and task.exception() is None:
            task.result().retire()

    async def connected(self) -> Link:
        """Return the connection, made anew when it was lost or its login ends. Being cancelled here does not cancel the connect.

        Raises:
            Unavailable: the broker is not there, or refuses us.
        """
        while True:
            link = await asyncio.shield(self._current())
            if link.subscriber is self._subscriber:
                return link  # else it was subscribed while the connection was being made

    def _current(self) -> asyncio.Task[Link]:
        task = self._connecting
        if task is None or (task.done() and (task.cancelled() or task.exception() is not None)):
            return self._begin(None)
        if task.done() and ((link := task.result()).lost is not None or link.is_due or link.subscriber is not self._subscriber):
            return self._begin(link)
        return task

    def _begin(self, former: Link | None) -> asyncio.Task[Link]:
        task = self._connecting = asyncio.create_task(self._replace(former), name=f"{self._name}: connect")
        return task

    async def _replace(self, former: Link | None) -> Link:
        if former is not None and former.lost is None:
            await former.settled()
            await former.close()
        return await self._connect()

    async def close(self) -> None:
        """Disconnect. The broker keeps no session of ours."""
        task = self._connecting
        if task is None:
            return
        await asyncio.wait((task,))
        if not task.cancelled() and task.exception() is None:
            link = task.result()
            await link.close()
            if self._policy.qos == 2 and not link.version5:
                with suppress(ConnectFailed):
                    await self._forget_session()

    async def _connect(self) -> Link:
        try:
            link = await self._link()
        except ConnectFailed as first:
            if not self._version.failed(first):
                raise first.error from None
            try:
                link = await self._link()
            except ConnectFailed as second:
                self._version.failed(second)
                neither = second.version_refused or second.unanswered
                raise (first if neither else second).error from None
        self._version.connected()
        self.largest_packet = link.largest_packet
        return link

    async def _link(self) -> Link:
        worth_keeping = self._handshakes.are_worth_keeping
        link = await self._open()
        if link.session_present and not worth_keeping and self._subscriber is None:
            # 3.1.1: packet ids of another run that the broker holds would swallow messages of ours
            await link.close()
            await self._forget_session()
            link = await self._open()
        return link

    async def _forget_session(self) -> None:
        """Let a broker of 3.1.1 forget the session, which it would keep for ever."""
        link = await self._open(clean=True)
        await link.close()

    async def _open(self, *, clean: bool = False) -> Link:
        return await Link.connect(
            self._settings,
            self._policy,
            self._handshakes,
            version5=self.version5,
            clean=clean,
            make_login=self._make_login,
            subscriber=self._subscriber,
        )
