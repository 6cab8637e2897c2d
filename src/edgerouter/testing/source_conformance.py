"""Conformance suite of sources: one pytest class that a source's author subclasses.

```python
class TestMySource(SourceConformance):
    source_class = MySource

    @pytest.fixture
    def config(self, service):
        return {"url": service.url}

    @pytest.fixture
    def send(self, service):
        return service.publish   # called with payloads, once the source is connected
```
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, ClassVar

import pytest

from edgerouter.source import Delivery, Source, SourceConfig, SourceContext
from edgerouter.testing.config_promises import undocumented
from edgerouter.testing.held_loop import MOST_SECONDS, never_holds_the_loop
from edgerouter.testing.messages import SPOOL

Send = Callable[[Sequence[bytes]], Awaitable[None]]
"""Sends these payloads to the source."""


@dataclass(slots=True)
class _Told:
    """Record of the calls a source made to the router."""

    connected: asyncio.Event = field(default_factory=asyncio.Event)
    reason: str = ""

    def hear(self, yes: bool, reason: str) -> None:
        self.reason = reason
        if yes:
            self.connected.set()


@pytest.mark.asyncio
class SourceConformance:
    """Promises that the router relies on in a source. Subclass it under a name that starts with `Test`."""

    source_class: ClassVar[type[Source[Any]]]
    """The source under test."""
    most_held_seconds: ClassVar[float] = MOST_SECONDS
    """Longest time for which the source may block the event loop; more only if its SDK leaves no choice, with the reason."""
    patience: ClassVar[float] = 20.0
    """Most seconds that a single step may take here."""

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        """The source's fields as in the YAML file; a subclass replaces this."""
        raise NotImplementedError("a subclass of SourceConformance has a fixture `config` that gives the source's own fields")

    @pytest.fixture
    def send(self) -> Send:
        """Sends payloads to the source; a subclass replaces this."""
        raise NotImplementedError("a subclass of SourceConformance has a fixture `send` that sends payloads to the source")

    @asynccontextmanager
    async def opened(self, config: Mapping[str, Any], *, probe: bool = False) -> AsyncIterator[tuple[Source[Any], _Told]]:
        """Open the source as the router does."""
        told = _Told()
        context = SourceContext(
            name="source",
            host="edge-1",
            spool=SPOOL,
            flush_now=lambda: None,
            dropped=lambda _topic, _messages, _reason: None,
            connected=told.hear,
            probe=probe,
        )
        async with self.source_class.open(self.source_class.Config.model_validate(dict(config)), context) as source:
            yield source, told

    async def received(self, source: Source[Any], told: _Told, payloads: Sequence[bytes], send: Send) -> list[bytes]:
        """Send payloads and receive as many messages, acknowledging each delivery; then stop the source and receive the rest."""
        got: list[bytes] = []

        async def read() -> None:
            async for delivery in source.deliveries():
                assert isinstance(delivery, Delivery), f"`deliveries` yields Delivery, not {delivery!r}"
                assert delivery.messages, "a delivery holds at least one message"
                got.extend(message.payload for message in delivery.messages)
                delivery.acknowledge()
                if len(got) >= len(payloads):
                    source.stop()

        async with asyncio.timeout(self.patience), asyncio.TaskGroup() as tasks:
            tasks.create_task(read(), name="read the source")
            await told.connected.wait()
            await send(payloads)
        return got

    async def test_every_field_is_documented(self) -> None:
        """A docstring under each field is the user manual; unknown keys are errors."""
        assert issubclass(self.source_class.Config, SourceConfig)
        assert list(undocumented(self.source_class.Config)) == []

    async def test_what_is_sent_comes_and_the_source_ends_when_it_is_stopped(self, config: Mapping[str, Any], send: Send) -> None:
        """Every message arrives, byte for byte, and `deliveries` ends by itself after `stop`."""
        payloads = [b'{"n": 1}', b"text", "größe".encode()]
        async with self.opened(config) as (source, told):
            got = await self.received(source, told, payloads, send)
        assert set(payloads) <= set(got), "messages were lost or changed"

    async def test_the_event_loop_is_never_held_up(self, config: Mapping[str, Any], send: Send) -> None:
        """Opening, reading, acknowledging and closing leave the event loop to all other sources and sinks."""
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            pytest.skip("only asyncio's own event loop can be watched")

        async def life() -> None:
            async with self.opened(config) as (source, told):
                await self.received(source, told, [b"1", b"2"], send)

        what = f"opening, reading and closing {self.source_class.__name__}"
        await never_holds_the_loop(life, what, self.most_held_seconds)

    async def test_a_look_says_that_the_source_is_let_in_beside_one_that_runs(self, config: Mapping[str, Any], send: Send) -> None:
        """`edgerouter check --connect` opens with `SourceContext.probe`; a running source still receives every message."""
        async with self.opened(config) as (source, told):
            reading = asyncio.create_task(self.received(source, told, [b"1"], send), name="a router")
            async with self.opened(config, probe=True) as (looking, answer):
                asking = asyncio.create_task(anext(aiter(looking.deliveries()), None), name="a look")
                async with asyncio.timeout(self.patience):
                    await answer.connected.wait()
                asking.cancel()
                await asyncio.wait((asking,))
            assert b"1" in await reading
