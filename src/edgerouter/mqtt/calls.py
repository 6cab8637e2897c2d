"""Calls that the broker answers: subscribing, unsubscribing, publishing a single message."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final, TypeVar

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode
from paho.mqtt.subscribeoptions import SubscribeOptions

from edgerouter.errors import Unavailable
from edgerouter.mqtt.properties import parse_length

Answer = TypeVar("Answer")

_REFUSED_FILTER: Final = 128
_ID_IN_USE: Final = 145
_OTHER_IDS: Final = 100
"""Packet ids to try: some brokers have one set of ids for both directions, and messages of a resumed session use them."""
_FILTERS_A_PACKET: Final = 8
"""AWS IoT Core refuses a SUBSCRIBE with more."""
_UNSUBACK: Final = 0xB0


class ConnectFailed(Exception):
    """There is no connection.

    Args:
        reason: for the operator; holds no secret.
        error: the same as an error of the contract, with the broker's address; by default `Unavailable`.
        code: reason code of the CONNACK, where the broker refuses us.
        version_refused: the broker said that it does not speak this version of MQTT.
        unanswered: the broker closed the connection instead of answering, as some do that do not know the version.
    """

    def __init__(
        self,
        reason: str,
        error: Unavailable | None = None,
        *,
        code: int | None = None,
        version_refused: bool = False,
        unanswered: bool = False,
    ) -> None:
        super().__init__(reason)
        self.error = error if error is not None else Unavailable(reason)
        self.code = code
        self.version_refused = version_refused
        self.unanswered = unanswered


class Calls:
    """Makes calls on one connection.

    Args:
        client: connected.
        lost: done when the connection has ended.
        version5: MQTT 5, not 3.1.1.
    """

    def __init__(self, client: aiomqtt.Client, lost: asyncio.Future[tuple[str, int | None]], *, version5: bool) -> None:
        self._client = client
        self._lost = lost
        self._version5 = version5
        self._unsubscribed: bytes = b""

    async def subscribe(self, filters: Mapping[str, int], *, replay: bool, as_published: bool = False) -> dict[str, str]:
        """Subscribe, and return the filters that are refused with the reason.

        Args:
            filters: topic filters with their highest quality of service.
            replay: get the retained messages of a subscription that is new to the session (MQTT 5; 3.1.1 always replays).
            as_published: get live messages with the mark of retained ones as their publisher set it (MQTT 5; 3.1.1 has it cleared).

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        refused = {}
        for part in _parts(filters):
            for _ in range(_OTHER_IDS):
                codes = await self._subscribe({each: filters[each] for each in part}, replay=replay, as_published=as_published)
                if not any(_number(code) == _ID_IN_USE for code in codes):
                    break
            for each, code in zip_longest(part, codes[: len(part)]):
                if code is None:
                    refused[each] = "the broker's answer leaves it out"
                elif _number(code) >= _REFUSED_FILTER:
                    refused[each] = str(code)
        return refused

    async def unsubscribe(self, filters: Iterable[str]) -> None:
        """Take filters out of the session.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        for part in _parts(filters):
            for _ in range(_OTHER_IDS):
                await self._answered("unsubscribing", self._client.unsubscribe(part))
                if _ID_IN_USE not in self._unsubscribed:
                    break

    async def publish(self, topic: str, payload: str, *, qos: int, retain: bool) -> None:
        """Publish one message.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        await self._answered("publishing", self._client.publish(topic, payload, qos=qos, retain=retain))

    def note_unsuback(self, command: int, body: bytes) -> None:
        """Look at a packet for the codes of an UNSUBACK, which aiomqtt does not show."""
        if command == _UNSUBACK and self._version5:
            length, at = parse_length(body, 2)
            self._unsubscribed = body[at + length :]

    async def _answered(self, what: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        """Return the broker's answer; fail as soon as the connection is lost, where aiomqtt would wait out its time."""
        task = asyncio.ensure_future(call)
        await asyncio.wait((task, self._lost), return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            task.cancel()
            await asyncio.wait((task,))
            raise ConnectFailed(f"{what} failed: {self._lost.result()[0]}")
        try:
            return task.result()
        except (aiomqtt.MqttError, ValueError) as error:
            raise ConnectFailed(f"{what} failed: {error}") from None

    async def _subscribe(self, filters: Mapping[str, int], *, replay: bool, as_published: bool) -> Any:
        # each call takes the next packet id
        if self._version5:
            handling = 1 if replay else 2  # MQTT 5.0, 3.8.3.1
            options = [
                (each, SubscribeOptions(qos=qos, retainAsPublished=as_published, retainHandling=handling))
                for each, qos in filters.items()
            ]
            return await self._answered("subscribing", self._client.subscribe(options))
        return await self._answered("subscribing", self._client.subscribe(list(filters.items())))


def _number(code: Any) -> int:
    return int(code.value if isinstance(code, ReasonCode) else code)


def _parts(filters: Iterable[str]) -> Iterable[list[str]]:
    every = list(filters)
    return (every[at : at + _FILTERS_A_PACKET] for at in range(0, len(every), _FILTERS_A_PACKET))
