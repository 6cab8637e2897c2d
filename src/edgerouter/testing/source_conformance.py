"""Conformance suite of sources: one pytest class that a source's author subclasses.

```python
class TestMySource(SourceConformance):
    source_class = MySource
    tight = {"max_bytes": "64KiB"}

    @pytest.fixture
    def config(self, service):
        return {"url": service.url}

    @pytest.fixture
    def send(self, service):
        return service.publish   # an async callable, called with payloads once the source is connected

    @pytest.fixture
    def acknowledged(self, service):
        return lambda: service.acknowledged   # the messages whose acknowledgement the sender has got
```
"""

from __future__ import annotations

import asyncio
import sys
import tracemalloc
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerouter.source import Delivery, SourceConfig
from edgerouter.testing.config_promises import secrets_of
from edgerouter.testing.held_loop import MOST_SECONDS, never_holds_the_loop
from edgerouter.testing.needs import needs
from edgerouter.testing.plugin_promises import assert_nothing_left, tasks_of, threads
from edgerouter.testing.source_bench import Acknowledged, Flood, Send, SourceBench

PRIVATE = b"~private-payload~"


@pytest.mark.asyncio
class SourceConformance(SourceBench):
    """Promises that the router relies on in a source. Subclass it under a name that starts with `Test`."""

    config_base: ClassVar[type[SourceConfig]] = SourceConfig
    tight: ClassVar[Mapping[str, Any]] = {}
    """The fields that bound the memory for messages that are not stored yet, set to 64 KiB or less."""
    most_held_bytes: ClassVar[int] = 1024 * 1024
    """Most memory that the source may take with the fields of `tight`."""
    most_held_seconds: ClassVar[float] = MOST_SECONDS
    """Longest time for which the source may block the event loop; more only if its SDK leaves no choice, with the reason."""

    # -- receiving --------------------------------------------------------------------------------------------------------------

    async def test_what_is_sent_comes_and_the_source_ends_when_it_is_stopped(self, config: Mapping[str, Any], send: Send) -> None:
        """Every message arrives, byte for byte and in order, and `deliveries` ends by itself after `stop`."""
        payloads = [b'{"n": 1}', b"text", "größe".encode(), *(b"n%d" % number for number in range(10))]
        async with self.opened(config) as (source, told):
            got = await self.received(source, told, payloads, send)
        assert set(payloads) <= set(got), f"messages were lost or changed: {sorted(set(payloads) - set(got))}"
        first = [payload for payload in dict.fromkeys(got) if payload in payloads]
        assert first == payloads or not self.keeps_order, "messages came in another order than they were sent (see `keeps_order`)"

    async def test_a_source_opens_again_after_it_was_closed(self, config: Mapping[str, Any], send: Send) -> None:
        """The router opens it again after a failure: nothing of the first one is in the way, or kept for both."""
        for payloads in ([b"before"], [b"after"]):
            async with self.opened(config) as (source, told):
                got = await self.received(source, told, payloads, send)
            assert set(payloads) <= set(got), f"opened again, it received {got}, not {payloads}: keep nothing outside of the object"

    async def test_a_cancelled_source_ends(self, config: Mapping[str, Any]) -> None:
        """The router cancels `deliveries` to stop waiting: the cancellation is passed on."""
        async with self.opened(config) as (source, told):
            waiting = asyncio.create_task(anext(aiter(source.deliveries()), None), name="deliveries under test")
            await self.until_connected(told)
            await asyncio.sleep(0)
            waiting.cancel()
            await asyncio.wait((waiting,), timeout=self.patience)
            assert waiting.done(), "`deliveries` runs on although it was cancelled: let CancelledError pass"
            assert waiting.cancelled(), "`deliveries` swallowed its cancellation: let CancelledError pass"

    # -- acknowledging ----------------------------------------------------------------------------------------------------------

    @needs("acknowledged")
    async def test_the_sender_hears_of_it_after_the_commit_and_not_before(
        self, config: Mapping[str, Any], send: Send, acknowledged: Acknowledged
    ) -> None:
        """Nothing is acknowledged until the router calls `acknowledge`; then everything is."""
        payloads = [b"first", b"second"]
        got: list[bytes] = []
        async with self.opened(config) as (source, told):
            deliveries = aiter(source.deliveries())
            next_one = asyncio.ensure_future(anext(deliveries))
            await self.until_connected(told)
            sending = asyncio.ensure_future(send(payloads))
            try:
                while len(got) < len(payloads):
                    delivery = await self.within(next_one, "what was sent did not come")
                    stored = len(got)
                    got += self.checked(delivery)
                    await asyncio.sleep(0.05)
                    early = await self.count(acknowledged) - stored
                    assert early <= 0, (
                        f"{early} messages are acknowledged that the router has not stored: acknowledge in "
                        "`Delivery.acknowledge` only, or a crash loses them"
                    )
                    delivery.acknowledge()
                    next_one = asyncio.ensure_future(anext(deliveries))
                await self.within(self._all_acknowledged(acknowledged, len(got)), "`acknowledge` does not reach the sender")
                await self.within(sending, "sending did not end")
            finally:
                next_one.cancel()
                sending.cancel()
                await asyncio.wait((next_one, sending), timeout=self.patience)

    async def _all_acknowledged(self, acknowledged: Acknowledged, wanted: int) -> None:
        while await self.count(acknowledged) < wanted:  # noqa: ASYNC110  (the sender is not ours to add an event to)
            await asyncio.sleep(0.01)

    async def test_an_acknowledgement_after_closing_does_nothing(self, config: Mapping[str, Any], send: Send) -> None:
        """A commit may end after the connection did: `acknowledge` raises nothing then."""
        async with self.opened(config) as (source, told):
            deliveries = aiter(source.deliveries())
            next_one = asyncio.ensure_future(anext(deliveries))
            await self.until_connected(told)
            sending = asyncio.ensure_future(send([b"late"]))
            delivery = await self.within(next_one, "what was sent did not come")
        try:
            delivery.acknowledge()
        except Exception as error:
            raise AssertionError(f"`acknowledge` on a closed source does nothing; it raised {error!r}") from error
        finally:
            sending.cancel()
            await asyncio.wait((sending,), timeout=self.patience)

    # -- bounds -----------------------------------------------------------------------------------------------------------------

    @needs("memory")
    async def test_a_sender_that_is_faster_than_the_disk_makes_nothing_grow(self, config: Mapping[str, Any], send: Send) -> None:
        """Until the router asks for the next delivery, the source holds its bound, and then stops reading or drops."""
        assert self.tight, (
            'set the fields that bound what waits in `tight`, or declare `unsupported = {"memory": "the service bounds it: ..."}`'
        )
        async with self.opened({**config, **self.tight}) as (source, told):
            # the router has asked once, and is storing
            first = asyncio.ensure_future(anext(aiter(source.deliveries())))
            await self.until_connected(told)
            tracemalloc.start()
            try:
                sending = asyncio.ensure_future(send(Flood()))
                await asyncio.wait((sending,), timeout=1)
                await asyncio.sleep(0.1)
                size, _ = tracemalloc.get_traced_memory()
            finally:
                tracemalloc.stop()
                for task in (sending, first):
                    task.cancel()
                await asyncio.wait((sending, first), timeout=self.patience)
        assert size < self.most_held_bytes, (
            f"{size} bytes are held for a router that stores nothing: stop reading at a bound in bytes, as "
            "edgerouter.receiving.Inbox does, or drop and count with `SourceContext.dropped`"
        )

    async def test_the_event_loop_is_never_held_up(self, config: Mapping[str, Any], send: Send) -> None:
        """Opening, reading, acknowledging and closing leave the event loop to all other sources and sinks."""
        if not isinstance(asyncio.get_running_loop(), asyncio.BaseEventLoop):
            pytest.skip("only asyncio's own event loop can be watched")

        async def life() -> None:
            async with self.opened(config) as (source, told):
                await self.received(source, told, [b"1", b"2"], send)

        what = f"opening, reading and closing {self.source_class.__name__}"
        await never_holds_the_loop(life, what, self.most_held_seconds)

    # -- traces -----------------------------------------------------------------------------------------------------------------

    async def test_closing_leaves_no_task_and_no_thread(self, config: Mapping[str, Any], send: Send) -> None:
        """Everything that the source started ends with it."""
        tasks, running = asyncio.all_tasks(), threads()
        async with self.opened(config) as (source, told):
            await self.received(source, told, [b"1"], send)
        await assert_nothing_left(tasks | tasks_of(type(self)), running, self.patience)

    async def test_no_payload_and_no_secret_is_logged_or_printed(
        self, config: Mapping[str, Any], send: Send, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """Logs are read by more people than messages are."""
        caplog.set_level("DEBUG")
        async with self.opened(config) as (source, told):
            await self.received(source, told, [PRIVATE], send)
            shown = repr(source)
        package = str(Path(str(sys.modules[self.source_class.__module__].__file__)).parent)
        own = [record.getMessage() for record in caplog.records if record.pathname.startswith(package)]
        printed = capsys.readouterr()
        text = "\n".join([shown, *own, printed.out, printed.err])
        assert PRIVATE.decode() not in text, f"a payload is logged or printed: {text}"
        assert not [secret for secret in secrets_of(self.model(config)) if secret in text], (
            "a secret is logged, printed, or in the repr"
        )

    async def test_a_look_says_that_the_source_is_let_in_beside_one_that_runs(self, config: Mapping[str, Any], send: Send) -> None:
        """`edgerouter check --connect` opens with `SourceContext.probe`; a running source still receives every message."""
        async with self.opened(config) as (source, told):
            reading = asyncio.create_task(self.received(source, told, [b"1"], send), name="a router")
            async with self.opened(config, probe=True) as (looking, answer):
                asking = asyncio.create_task(_first(looking.deliveries()), name="a look")
                await self.until_connected(answer)
                asking.cancel()
                await asyncio.wait((asking,))
                taken = None if asking.cancelled() or asking.exception() else asking.result()
            assert taken is None, "with `SourceContext.probe` nothing is taken: a look found a message of the running router"
            assert b"1" in await reading


async def _first(deliveries: Any) -> Delivery | None:
    return await anext(aiter(deliveries), None)
