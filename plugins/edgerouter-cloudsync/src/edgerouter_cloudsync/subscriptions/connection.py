"""Connection to one broker for all subscriptions there, made anew whenever it was lost."""

from __future__ import annotations

import asyncio
import random
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Final

from edgerouter import Rejected, Unavailable
from edgerouter.mqtt import Arrived, BrokerSettings, Subscriber
from edgerouter_cloudsync.brokers import find

_FIRST_DELAY, _MAX_DELAY = 0.5, 60.0
_MOST_DOUBLINGS: Final = 10


class BrokerConnection:
    """Keeps the subscriptions of one broker alive.

    Args:
        settings: how to reach the broker.
        name: beginning of the client id.
        filters: returns the topic filters that are wanted now.
        on_message: gets each message.
        largest: bytes of a packet beyond which a message is discarded.
    """

    def __init__(
        self,
        settings: BrokerSettings,
        name: str,
        filters: Callable[[], Iterable[str]],
        on_message: Callable[[Arrived], None],
        largest: int,
    ) -> None:
        self.reason = "connecting"
        """Reason for which it is not connected; empty while it is."""
        self._settings = settings
        self._client_id = f"{name}-{secrets.token_hex(3)}"
        self._filters = filters
        self._on_message = on_message
        self._largest = largest
        self._subscriber: Subscriber | None = None
        self._attempt: asyncio.Future[Subscriber | Unavailable] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run(), name=f"subscriptions at {settings.address}")

    async def subscribe(self, topic: str) -> None:
        """Subscribe to a topic filter, on the present connection or with the attempt that is being made.

        Raises:
            Unavailable: there is no connection.
            Rejected: the broker refuses the filter.
        """
        subscriber: Subscriber | Unavailable | None = self._subscriber
        if subscriber is None:
            subscriber = await asyncio.shield(self._attempt)
        if isinstance(subscriber, Unavailable):
            raise subscriber
        refused = await subscriber.subscribe([topic])
        if topic in refused:
            raise Rejected(refused[topic])

    async def unsubscribe(self, topics: Iterable[str]) -> None:
        """Unsubscribe; nothing to do where there is no connection."""
        if self._subscriber is not None:
            with suppress(Unavailable):
                await self._subscriber.unsubscribe(topics)

    async def close(self) -> None:
        """Disconnect."""
        self._task.cancel()
        await asyncio.wait((self._task,))
        if not self._attempt.done():
            self._attempt.set_result(Unavailable(f"{self._settings.address}: not subscribed to any more"))

    async def _run(self) -> None:
        failures = 0
        while True:
            try:
                subscriber = await self._connect()
            except Unavailable as error:
                failures += 1
                self.reason = str(error)
                self._attempt.set_result(error)
                await asyncio.sleep(_delay(failures))
                self._attempt = asyncio.get_running_loop().create_future()
                continue
            failures = 0
            await self._serve(subscriber)

    async def _serve(self, subscriber: Subscriber) -> None:
        try:
            error: Unavailable | None = None
            try:
                await subscriber.subscribe(self._filters())
                self.reason, self._subscriber = "", subscriber
                self._attempt.set_result(subscriber)
                error = await subscriber.until_lost()
            except Unavailable as failed:
                error = failed
                if not self._attempt.done():
                    self._attempt.set_result(failed)
            self.reason, self._subscriber = str(error), None
            self._attempt = asyncio.get_running_loop().create_future()
            await asyncio.sleep(_delay(1))
        finally:
            await subscriber.close()

    async def _connect(self) -> Subscriber:
        await find(self._settings)
        connect = Subscriber.connect(self._settings, self._client_id, self._on_message, largest=self._largest)
        connecting = asyncio.create_task(connect, name=f"subscriptions at {self._settings.address}: connect")
        try:
            return await asyncio.shield(connecting)
        except asyncio.CancelledError:
            # a connect that is cancelled half-way would stay up
            with suppress(Unavailable):
                await (await connecting).close()
            raise


def _delay(failures: int) -> float:
    """Return seconds to wait, with full jitter."""
    longest = min(_MAX_DELAY, _FIRST_DELAY * 2 ** min(failures, _MOST_DOUBLINGS))
    return random.uniform(_FIRST_DELAY / 2, longest)  # noqa: S311  (spreads attempts)
