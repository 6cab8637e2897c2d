"""Book of subscriptions: which application wants which topics of which broker."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Final, Self

from edgerouter import Rejected, Unavailable
from edgerouter.mqtt import Arrived, BrokerSettings
from edgerouter.topics import Matcher
from edgerouter_cloudsync.subscriptions.connection import BrokerConnection
from edgerouter_cloudsync.subscriptions.store import Latest, Store, Subscription
from edgerouter_cloudsync.subscriptions.values import Values

_WRITE_SECONDS: Final = 1.0
"""Between two writes of changed values; a crash loses at most those of this time."""


class Book:
    """Subscriptions, with a connection for each broker that has some; created by `open`.

    Args:
        store: keeps everything over restarts.
        values: the latest values.
        settings: returns how to reach a broker; `None` if it is not allowed.
        name: beginning of client ids.
        largest: bytes of the largest value.
    """

    def __init__(
        self, store: Store, values: Values, settings: Callable[[str], BrokerSettings | None], name: str, largest: int
    ) -> None:
        self.connections: dict[str, BrokerConnection] = {}
        """By broker."""
        self._store = store
        self._values = values
        self._settings = settings
        self._name = name
        self._largest = largest
        self._apps: dict[tuple[str, str], dict[str, None]] = {}
        """Applications by broker and topic."""
        self._matchers: dict[str, Matcher] = {}
        self._pending: Counter[str] = Counter()
        """Calls of `subscribe` that are under way, by broker."""

    @classmethod
    @asynccontextmanager
    async def open(
        cls,
        folder: Path | None,
        settings: Callable[[str], BrokerSettings | None],
        name: str,
        *,
        most_bytes: int,
        largest: int,
    ) -> AsyncIterator[Self]:
        """Open the book, and connect to the brokers of subscriptions that were kept.

        Raises:
            Unavailable: the database cannot be opened.
        """
        store = await Store.open(folder)
        try:
            kept, latest = await store.read()
            book = cls(store, Values(most_bytes, latest), settings, name, largest)
            for each in kept:
                book._add(each)
            for url in dict.fromkeys(each.url for each in kept):
                book._connection(url)
            writing = asyncio.create_task(book._keep_writing(), name=f"{name}: keep values")
            try:
                yield book
            finally:
                writing.cancel()
                await asyncio.wait((writing,))
                await asyncio.gather(*(each.close() for each in book.connections.values()))
                with suppress(Unavailable):
                    await store.write(*book._values.take_changed())
        finally:
            await store.close()

    def __len__(self) -> int:
        return sum(map(len, self._apps.values()))

    def __iter__(self) -> Iterator[Subscription]:
        for (url, topic), apps in self._apps.items():
            for appid in apps:
                yield Subscription(url, topic, appid)

    def __contains__(self, subscription: Subscription) -> bool:
        return subscription.appid in self._apps.get((subscription.url, subscription.topic), ())

    async def subscribe(self, subscription: Subscription) -> None:
        """Subscribe at the broker, and keep the subscription.

        Raises:
            Unavailable: the broker cannot be reached; nothing is kept.
            Rejected: the broker refuses the topic, or is not allowed; nothing is kept.
        """
        url, topic, _ = subscription
        connection = self._connection(url)
        if connection is None:
            raise Rejected("the broker is not allowed")
        self._pending[url] += 1
        try:
            # one that exists is made again whenever the broker is back
            if (url, topic) not in self._apps:
                await connection.subscribe(topic)
            await self._store.subscribe(subscription)
            self._add(subscription)
        finally:
            self._pending[url] -= 1
            await self._close_unused(url)

    async def unsubscribe(self, appid: str, url: str, topic: str | None = None) -> int:
        """End subscriptions of an application at a broker, all by default; return their number."""
        ended = [each for each in self if each.appid == appid and each.url == url and topic in (None, each.topic)]
        await self._store.unsubscribe(ended)
        for each in ended:
            self._remove(each)
        unwanted = [each.topic for each in ended if (url, each.topic) not in self._apps]
        if unwanted and (connection := self.connections.get(url)) is not None:
            await connection.unsubscribe(unwanted)
            wanted = Matcher(self._filters(url))
            self._values.drop(url, lambda topic: not wanted(topic))
        await self._close_unused(url)
        return len(ended)

    def latest(self, subscription: Subscription) -> Latest | None:
        """Return the latest value of the subscription's topic, of several where it has wildcards."""
        topic = subscription.topic
        if "+" not in topic and "#" not in topic:
            return self._values.exact(subscription.url, topic)
        matcher = self._matchers.setdefault(topic, Matcher([topic]))
        return self._values.newest(subscription.url, matcher)

    @property
    def reasons(self) -> Mapping[str, str]:
        """Reason for which a broker's connection does not stand, by broker; empty where it does."""
        return {url: connection.reason for url, connection in self.connections.items()}

    def _filters(self, url: str) -> list[str]:
        return [topic for broker, topic in self._apps if broker == url]

    def _connection(self, url: str) -> BrokerConnection | None:
        found = self.connections.get(url)
        if found is None and (settings := self._settings(url)) is not None:

            def arrived(message: Arrived) -> None:
                self._values.put(url, message.topic, message.payload)

            found = BrokerConnection(settings, self._name, lambda: self._filters(url), arrived, self._largest)
            self.connections[url] = found
        return found

    def _add(self, subscription: Subscription) -> None:
        self._apps.setdefault((subscription.url, subscription.topic), {})[subscription.appid] = None

    def _remove(self, subscription: Subscription) -> None:
        key = (subscription.url, subscription.topic)
        apps = self._apps[key]
        del apps[subscription.appid]
        if not apps:
            del self._apps[key]
            if not any(topic == subscription.topic for _, topic in self._apps):
                self._matchers.pop(subscription.topic, None)

    async def _close_unused(self, url: str) -> None:
        if self._pending[url]:
            return
        del self._pending[url]
        if not self._filters(url) and (connection := self.connections.pop(url, None)) is not None:
            await connection.close()

    async def _keep_writing(self) -> None:
        while True:
            await asyncio.sleep(_WRITE_SECONDS)
            if self._values.changed:
                # a full disk must not end it: what is lost is the value of one topic after a restart
                with suppress(Unavailable):
                    await self._store.write(*self._values.take_changed())
