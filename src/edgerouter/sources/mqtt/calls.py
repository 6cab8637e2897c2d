"""Calls that the broker answers: subscribing, unsubscribing, publishing the status."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping
from itertools import zip_longest
from typing import Any, Final, TypeVar

import aiomqtt
from paho.mqtt.reasoncodes import ReasonCode

from edgerouter.sources.mqtt.config import MqttSourceConfig
from edgerouter.sources.mqtt.options import subscribe_options

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
        version_refused: the broker said that it does not speak this version of MQTT.
        unanswered: the broker closed the connection instead of answering, as some do that do not know the version.
        refused: the broker answered, and refuses us.
    """

    def __init__(self, reason: str, *, version_refused: bool = False, unanswered: bool = False, refused: bool = False) -> None:
        super().__init__(reason)
        self.version_refused = version_refused
        self.unanswered = unanswered
        self.refused = refused


class Calls:
    """Makes calls on one connection.

    Args:
        client: connected.
        lost: done when the connection has ended.
        config: the source's configuration.
        version5: MQTT 5, not 3.1.1.
        why_not: tells why a filter is refused without being tried.
    """

    def __init__(
        self,
        client: aiomqtt.Client,
        lost: asyncio.Future[tuple[str, int | None]],
        config: MqttSourceConfig,
        *,
        version5: bool,
        why_not: Callable[[str], str | None],
    ) -> None:
        self._client = client
        self._lost = lost
        self._config = config
        self._version5 = version5
        self._why_not = why_not
        self._unsubscribed: bytes = b""

    async def subscribe(self, filters: Mapping[str, int]) -> dict[str, str]:
        """Subscribe, and return the filters that are refused with the reason.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
        refused = {each: why for each in filters if (why := self._why_not(each)) is not None}
        for part in _parts(each for each in filters if each not in refused):
            left = part
            for _ in range(_OTHER_IDS):
                codes = await self._subscribe(left, filters)
                if not any(code is not None and _number(code) == _ID_IN_USE for code in codes):
                    break
            for each, code in zip_longest(left, codes[: len(left)]):
                if code is None:
                    refused[each] = "the broker answered without a word about it"
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
                await self.answered("unsubscribing", self._client.unsubscribe(part))
                if _ID_IN_USE not in self._unsubscribed:
                    break

    def note_unsuback(self, command: int, body: bytes) -> None:
        """Look at a packet for the codes of an UNSUBACK, which aiomqtt does not show."""
        if command == _UNSUBACK and self._version5 and len(body) > 3:
            # properties of less than 128 bytes; longer ones only hide a code that is rare
            self._unsubscribed = body[3 + body[2] :]

    async def answered(self, what: str, call: Coroutine[Any, Any, Answer]) -> Answer:
        """Return the broker's answer; fails as soon as the connection is lost, where aiomqtt would wait out its time.

        Raises:
            ConnectFailed: the connection is gone, or the broker does not answer.
        """
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

    async def _subscribe(self, part: list[str], filters: Mapping[str, int]) -> Any:
        # each call takes the next packet id
        if self._version5:
            call = self._client.subscribe([(each, subscribe_options(self._config, filters[each])) for each in part])
        else:
            call = self._client.subscribe([(each, filters[each]) for each in part])
        return await self.answered("subscribing", call)


def _number(code: Any) -> int:
    return int(code.value if isinstance(code, ReasonCode) else code)


def _parts(filters: Iterable[str]) -> Iterable[list[str]]:
    every = list(filters)
    return (every[at : at + _FILTERS_A_PACKET] for at in range(0, len(every), _FILTERS_A_PACKET))
