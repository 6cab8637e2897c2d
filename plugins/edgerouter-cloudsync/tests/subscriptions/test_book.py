"""Applications share a connection to each broker, and one that is down does not change what was subscribed before.

Covers also: edgerouter_cloudsync.subscriptions.connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgerouter import Rejected, Unavailable
from edgerouter.mqtt import BrokerSettings
from edgerouter_cloudsync.subscriptions.book import Book
from edgerouter_cloudsync.subscriptions.store import Subscription
from support.mosquitto import free_port
from support.mqtt_packets import publish
from support.mqtt_source import eventually
from support.strict_broker import strict_broker


@asynccontextmanager
async def opened(url: str, folder: Path | None = None) -> AsyncIterator[Book]:
    def settings(name: str) -> BrokerSettings | None:
        return BrokerSettings(url=url, connect_timeout=0.5) if name != "forbidden" else None

    async with Book.open(folder, settings, "test", most_bytes=100_000, largest=1000) as book:
        yield book


async def test_applications_share_one_connection_and_one_subscription_for_a_topic() -> None:
    async with strict_broker() as broker, opened(broker.url) as book:
        for app in ("one", "two"):
            await book.subscribe(Subscription("a", "t", app))
        assert broker.subscribed[-1] == [("t", 1)]
        (await broker.client()).send(publish("t", b"v", 1, 1, properties=b""))
        await eventually(lambda: book.latest(Subscription("a", "t", "one")) is not None)
        assert await book.unsubscribe("one", "a", "t") == 1
        assert broker.unsubscribed == []
        assert await book.unsubscribe("two", "a") == 1
        assert broker.unsubscribed == ["t"]
        assert book.latest(Subscription("a", "t", "one")) is None
        assert not book.connections
        assert len(book) == 0
    assert len(broker.attempts) == 1


async def test_a_topic_that_the_broker_refuses_is_not_kept() -> None:
    async with strict_broker() as broker, opened(broker.url) as book:
        broker.subscribe_codes = lambda filters: [135 for _ in filters]
        with pytest.raises(Rejected):
            await book.subscribe(Subscription("a", "t", "app"))
        assert not book.connections
        with pytest.raises(Rejected, match="not allowed"):
            await book.subscribe(Subscription("forbidden", "t", "app"))


async def test_a_broker_that_never_answers_is_reported_in_time_and_forgotten() -> None:
    async with opened(f"mqtt://127.0.0.1:{free_port()}") as book:
        with pytest.raises(Unavailable):
            await book.subscribe(Subscription("a", "t", "app"))
        assert len(book) == 0
        assert not book.connections


async def test_everything_is_subscribed_to_again_after_a_lost_connection_and_after_a_restart(tmp_path: Path) -> None:
    async with strict_broker() as broker:
        async with opened(broker.url, tmp_path) as book:
            for topic in ("t", "u"):
                await book.subscribe(Subscription("a", topic, "app"))
            (await broker.client()).writer.transport.abort()
            async with asyncio.timeout(10):
                await eventually(lambda: broker.subscribed[-1] == [("t", 1), ("u", 1)])
        async with opened(broker.url, tmp_path) as book:
            await eventually(lambda: len(broker.attempts) == 3)
            assert set(book) == {Subscription("a", "t", "app"), Subscription("a", "u", "app")}
            await eventually(lambda: book.reasons == {"a": ""})
    assert broker.faults == []


async def test_a_refused_topic_does_not_end_the_subscription_beside_it() -> None:
    async with strict_broker() as broker, opened(broker.url) as book:
        broker.subscribe_codes = lambda filters: [135 if name == "closed" else 1 for name, _ in filters]
        wanted = [Subscription("a", topic, "app") for topic in ("closed", "open")]
        closed, made = await asyncio.gather(*map(book.subscribe, wanted), return_exceptions=True)
        assert isinstance(closed, Rejected)
        assert made is None
        assert list(book) == [wanted[1]]
        assert book.reasons == {"a": ""}


async def test_a_topic_that_is_subscribed_to_already_needs_no_answer_of_the_broker() -> None:
    async with strict_broker() as broker, opened(broker.url) as book:
        await book.subscribe(Subscription("a", "t", "one"))
        broker.admit = lambda _: None
        (await broker.client()).writer.transport.abort()
        await eventually(lambda: book.reasons != {"a": ""})
        await book.subscribe(Subscription("a", "t", "two"))
        assert len(book) == 2
