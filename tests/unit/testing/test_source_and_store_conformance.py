"""The suites of sources and secret stores pass honest ones, and catch liars.

Covers: edgerouter.secrets, edgerouter.testing.secret_store_conformance, edgerouter.testing.source_conformance.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, ClassVar, Self

import pytest

from edgerouter import (
    Delivery,
    Message,
    SecretMissing,
    SecretStore,
    SecretStoreConfig,
    SecretStoreContext,
    Source,
    SourceConfig,
    SourceContext,
    Unavailable,
)
from edgerouter.testing import SecretStoreConformance, SourceConformance

QUEUE = "queue"


class QueueConfig(SourceConfig):
    """A queue of this process."""

    name: str
    """Name of the queue."""


class QueueSource(Source[QueueConfig]):
    """An honest source."""

    queues: ClassVar[dict[str, asyncio.Queue[bytes | None]]] = {}

    def __init__(self, queue: asyncio.Queue[bytes | None], *, probe: bool) -> None:
        self.queue = queue
        self.probe = probe

    @classmethod
    @asynccontextmanager
    async def open(cls, config: QueueConfig, context: SourceContext) -> AsyncIterator[Self]:
        context.connected(True, "")
        yield cls(cls.queues[config.name], probe=context.probe)

    async def deliveries(self) -> AsyncIterator[Delivery]:
        if self.probe:
            await asyncio.Event().wait()
        while (payload := await self.queue.get()) is not None:
            yield Delivery([Message("t", payload, time.time_ns(), 1)], self.acknowledge)

    def acknowledge(self) -> None:
        """Drop the report."""

    def stop(self) -> None:
        self.queue.put_nowait(None)


class SlowToRead(QueueSource):
    async def deliveries(self) -> AsyncIterator[Delivery]:
        async for delivery in super().deliveries():
            time.sleep(0.1)  # noqa: ASYNC251  (the lie)
            yield delivery


class SlowToAcknowledge(QueueSource):
    def acknowledge(self) -> None:
        time.sleep(0.1)


class DeafToStop(QueueSource):
    def stop(self) -> None:
        pass


class TestAnHonestSource(SourceConformance):
    source_class = QueueSource

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        QueueSource.queues[QUEUE] = asyncio.Queue()
        return {"name": QUEUE}

    @pytest.fixture
    def send(self) -> Any:
        return send


async def send(payloads: Sequence[bytes]) -> None:
    for payload in payloads:
        QueueSource.queues[QUEUE].put_nowait(payload)


@pytest.mark.parametrize(
    ("liar", "promise"),
    [
        (SlowToRead, "test_the_event_loop_is_never_held_up"),
        (SlowToAcknowledge, "test_the_event_loop_is_never_held_up"),
        (DeafToStop, "test_what_is_sent_comes_and_the_source_ends_when_it_is_stopped"),
    ],
)
async def test_a_lie_of_a_source_is_caught(liar: type[QueueSource], promise: str) -> None:
    suite = TestAnHonestSource()
    suite.source_class = liar  # type: ignore[misc]  # this one suite object is about the liar
    suite.patience = 2  # type: ignore[misc]  # what never ends is waited for that long
    QueueSource.queues[QUEUE] = asyncio.Queue()
    with pytest.raises((AssertionError, TimeoutError)):
        await getattr(suite, promise)({"name": QUEUE}, send)


class VaultConfig(SecretStoreConfig):
    """A vault of this process."""


class Vault(SecretStore[VaultConfig]):
    """An honest store."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: VaultConfig, context: SecretStoreContext) -> AsyncIterator[Self]:
        yield cls()

    async def get(self, name: str) -> str:
        if name != "db":
            raise SecretMissing(f"no {name}")
        return "hunter2"


class SlowVault(Vault):
    async def get(self, name: str) -> str:
        time.sleep(0.1)  # noqa: ASYNC251  (the lie)
        return await super().get(name)


class VagueVault(Vault):
    async def get(self, name: str) -> str:
        try:
            return await super().get(name)
        except SecretMissing as error:
            raise Unavailable(str(error)) from error


class TestAnHonestStore(SecretStoreConformance):
    store_class = Vault

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        return {}

    @pytest.fixture
    def secret(self) -> tuple[str, str]:
        return "db", "hunter2"


async def test_a_store_that_blocks_is_caught() -> None:
    suite = TestAnHonestStore()
    suite.store_class = SlowVault  # type: ignore[misc]  # this one suite object is about the liar
    with pytest.raises(AssertionError, match="held the event loop"):
        await suite.test_the_event_loop_is_never_held_up({}, ("db", "hunter2"))


async def test_a_store_that_does_not_say_what_is_missing_is_caught() -> None:
    suite = TestAnHonestStore()
    suite.store_class = VagueVault  # type: ignore[misc]  # this one suite object is about the liar
    with pytest.raises(Unavailable):
        await suite.test_a_secret_that_is_not_there_is_missing({})
