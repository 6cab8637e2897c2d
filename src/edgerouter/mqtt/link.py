"""One connection that publishes, from CONNECT to its end; a new object for every connection.

It reads the broker's answers itself: aiomqtt's own `publish` waits for each message and does not see the reason code of its
acknowledgement, and paho ends the connection for a code that it does not know. docs/decisions/002 says more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from math import inf
from typing import Final, Literal, Self

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.connection import Connection, Credentials, Options
from edgerouter.mqtt.handshakes import Handshakes
from edgerouter.mqtt.incoming import Subscriber, encode_pubacks, parse_publish
from edgerouter.mqtt.last_will import Will
from edgerouter.mqtt.login import MakeLogin
from edgerouter.mqtt.outgoing import Outgoing
from edgerouter.mqtt.pace import Pace
from edgerouter.mqtt.packets import DISCONNECT, FORGET_SESSION, PUBACK, PUBCOMP, PUBLISH, PUBREC, PacketReader
from edgerouter.mqtt.publications import Error, Publication, Result
from edgerouter.mqtt.reasons import disconnected
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.tasks.beat import until_beat

_LOOK_SECONDS: Final = 1.0
"""Between two looks whether the connection still stands."""
_LARGEST_ANSWER: Final = 256 * 1024
"""Bytes of what a broker sends to a client that subscribes to nothing: reason strings and user properties."""
_SESSION_SECONDS: Final = 3600
"""Seconds that a broker keeps the session of a publisher with QoS 2, for unfinished handshakes; closing ends it (MQTT 5)."""
_WINDOW_OF_OLD_BROKERS: Final = 20
"""Handshakes of QoS 2 at once that a 3.1.1 broker takes: it cannot say it, and mosquitto hangs up on more."""
_ANSWERS: Final = {PUBACK, PUBREC, PUBCOMP}


@dataclass(frozen=True, slots=True)
class Policy:
    """Settings for publishing."""

    client_id: str
    qos: Literal[0, 1, 2]
    max_inflight: int
    """Most messages in flight."""
    retains: bool
    """Some messages are to be retained."""
    publishes_per_second: float | None = None
    """Limit of the service for one connection."""
    bytes_per_second: float | None = None
    """Limit of the service for one connection."""
    topic_aliases: bool = True
    """Use topic aliases where an MQTT 5 broker takes them."""
    will: Will | None = None
    """Message that the broker publishes when the connection is lost."""


class Link:
    """A connection that `connect` has made.

    Args:
        settings: how to reach the broker.
        policy: how to publish.
        options: contents of the CONNECT.
        credentials: of this connection.
        handshakes: unfinished ones of QoS 2.
        subscriber: receives what comes in.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        policy: Policy,
        options: Options,
        credentials: Credentials,
        *,
        handshakes: Handshakes,
        subscriber: Subscriber | None = None,
    ) -> None:
        self.version5 = options.version5
        self._policy = policy
        self._where = str(settings.address)
        self._lost: Error | None = None
        self._connection = Connection(settings, options, credentials, self)
        client = self._connection.client
        pace = Pace(policy.publishes_per_second, policy.bytes_per_second) if policy.publishes_per_second is not None else None
        self._outgoing = Outgoing(
            send=client.send, answer=self._connection.answer, hasten=client.hasten, handshakes=handshakes, pace=pace
        )
        self._reader = PacketReader(self._packet, largest=_LARGEST_ANSWER, on_pubacks=self._outgoing.acknowledged)
        self._lasts, self._retired = credentials.login.lasts, False
        self._ending: asyncio.TimerHandle | None = None
        self._publishing, self._quiet = 0, asyncio.Event()
        self.subscriber, self._over = subscriber, asyncio.Event()

    @classmethod
    async def connect(
        cls,
        settings: BrokerSettings,
        policy: Policy,
        handshakes: Handshakes,
        *,
        version5: bool,
        clean: bool = False,
        make_login: MakeLogin | None = None,
        subscriber: Subscriber | None = None,
    ) -> Self:
        """Connect. Never cancel it; see `edgerouter.mqtt.connection`.

        Args:
            settings: how to reach the broker.
            policy: how to publish.
            handshakes: unfinished ones of QoS 2.
            version5: MQTT 5, not 3.1.1.
            clean: begin without the session that the broker may have.
            make_login: makes the credentials of this connection; those of the settings by default.
            subscriber: receives what comes in, in a session that the broker keeps.

        Raises:
            ConnectFailed: the broker is not there, or refuses us, or cannot do what the policy asks for.
        """
        keeps_session = policy.qos == 2 and not clean
        options = Options(
            client_id=policy.client_id,
            version5=version5,
            clean=subscriber is None and not (keeps_session and (handshakes.are_worth_keeping or not version5)),
            session_expiry=_SESSION_SECONDS if keeps_session else subscriber.session_expiry if subscriber is not None else None,
            receive_maximum=subscriber.receive_maximum if subscriber is not None else None,
            will=policy.will,
        )
        credentials = await Credentials.read(settings, make_login)
        link = cls(settings, policy, options, credentials, handshakes=handshakes, subscriber=subscriber)
        await link._begin()
        return link

    @property
    def session_present(self) -> bool:
        """The broker had a session of ours."""
        return self._connection.session_present

    @property
    def largest_packet(self) -> int:
        """Bytes of a packet that the broker takes."""
        return self._connection.abilities.maximum_packet_size

    @property
    def lost(self) -> Error | None:
        """Reason of the connection's end; `None` while it stands."""
        self._connection.client.notice_failure()
        return self._lost

    @property
    def hung_up(self) -> bool:
        """The broker has ended the connection in order, as some do that throttle or refuse."""
        return self._connection.client.hung_up

    @property
    def is_due(self) -> bool:
        """The login is about to end: the connection sends nothing more, and is to be replaced."""
        return self._retired

    async def publish(
        self, publications: Sequence[Publication], seconds: float | None = None, *, qos: Literal[0, 1, 2] | None = None
    ) -> Sequence[Result]:
        """Publish, and return when each message is answered, or the connection is gone. Cut the link if this is cancelled.

        Args:
            publications: the messages.
            seconds: send nothing more after this time; what is not sent by then is `UNTRIED`, as it is when the login ends.
            qos: quality of service, at most that of the policy, which is the default.
        """
        clock = asyncio.get_running_loop().time
        deadline = inf if seconds is None else clock() + seconds
        self._publishing += 1
        try:
            pending = self._outgoing.publish(publications, self._policy.qos if qos is None else qos)
            while not pending.done.done():
                await asyncio.wait((pending.done,), timeout=min(_LOOK_SECONDS, max(0.0, deadline - clock())))
                self._connection.client.notice_failure()
                if clock() >= deadline:
                    deadline = inf
                    self._outgoing.withdraw(pending)
        except BaseException:
            self.cut("given up")  # what waits to be written must not go out later
            raise
        finally:
            self._publishing -= 1
            self._quiet.set()
        return [answer for answer in pending.answers if answer is not None]

    async def settled(self) -> None:
        """Wait until no call of `publish` runs, and what came in is acknowledged."""
        while self._publishing:
            self._quiet.clear()
            await self._quiet.wait()
        if self.subscriber is not None and self._lost is None:
            await self.subscriber.settled(self)

    def retire(self) -> None:
        """Send nothing more, and let `is_due` say so: the next connection has another subscriber, or another login."""
        self._retired = True
        self._outgoing.withdraw()
        self._over.set()

    async def over(self) -> Error | None:
        """Wait until the connection is to be replaced; returns the reason of its end, if it has ended."""
        while self.lost is None and not self.is_due:
            self._over.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(until_beat(_LOOK_SECONDS)):
                    await self._over.wait()
        return None if self.is_due else self._lost

    def acknowledge(self, identifiers: list[int]) -> None:
        """Send the PUBACK of messages that are stored; does nothing once the connection is lost."""
        if self._lost is None:
            self._connection.client.send(encode_pubacks(identifiers))

    def answer(self, topic: str, payload: bytes) -> None:
        """Publish an answer with QoS 0."""
        properties = b"\x00" if self.version5 else b""
        self._outgoing.publish([Publication(topic, payload, retain=False, properties=properties)], 0)

    async def close(self) -> None:
        """Disconnect as the specification wants it; a session of MQTT 5 ends with the connection."""
        if self._lost is None:
            with suppress(OSError):
                await self._connection.client.finish(FORGET_SESSION if self.version5 and self._policy.qos == 2 else DISCONNECT)
        self.cut("closed")

    def cut(self, reason: str) -> None:
        """Give the connection up at once, and everything that is in flight."""
        self._end(Unavailable(f"{self._where}: {reason}"))
        self._connection.client.close(reason)

    def _end(self, error: Error) -> None:
        if self._lost is None:
            self._lost = error
            self._over.set()
            if self._ending is not None:
                self._ending.cancel()
            self._outgoing.end(error)

    def received(self, data: bytes) -> None:
        self._reader.feed(data)
        self._outgoing.resume()

    def accepted(self) -> None:
        window = min(self._policy.max_inflight, self._connection.abilities.receive_maximum)
        if self._policy.qos == 2 and not self.version5:
            window = min(window, _WINDOW_OF_OLD_BROKERS)
        aliases = self._connection.abilities.topic_alias_maximum if self._policy.topic_aliases else 0
        self._outgoing.begin(window, session_present=self.session_present, aliases=aliases)
        if self._lasts is not None:
            self._ending = asyncio.get_running_loop().call_later(self._lasts, self.retire)

    def ended(self) -> None:
        reason, code = self._connection.lost.result()
        self._end(disconnected(code, reason, self._where))

    def written(self) -> None:
        self._outgoing.written()

    def keep_alive_sent(self) -> None:
        pass

    def _packet(self, command: int, body: bytes) -> bool:
        if command & 0xF0 in _ANSWERS:
            self._outgoing.received(command, body)
            return self._lost is None
        if command & 0xF0 == PUBLISH:
            if self.subscriber is not None:
                self.subscriber.received(self, parse_publish(command, body, version5=self.version5))
            return self._lost is None
        return self._connection.handle(command, body)

    async def _begin(self) -> None:
        await self._connection.connect()
        if unfit := self._unfit():
            await self.close()
            raise ConnectFailed(unfit, Unauthorized(f"{self._where} {unfit}"))
        if self.subscriber is not None:
            refused = await self._connection.calls.subscribe(self.subscriber.filters, replay=False)
            if refused:
                self.cut("not subscribed")
                reason = "; ".join(f"refuses the subscription {name!r}: {why}" for name, why in refused.items())
                raise ConnectFailed(reason, Unauthorized(f"{self._where} {reason}"))

    def _unfit(self) -> str:
        """Return what of the policy the broker has said that it cannot do."""
        abilities, policy = self._connection.abilities, self._policy
        if not abilities.retain and policy.retains:
            return "keeps no retained messages; set `retain: never`"
        if abilities.maximum_qos < policy.qos:
            return f"takes messages with QoS {abilities.maximum_qos} at most; set `qos: {abilities.maximum_qos}`"
        return ""
