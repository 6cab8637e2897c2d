"""Declarations of an author about a sink, and the steps by which the suite drives that sink."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, ClassVar

import pytest

from edgerouter.blocking import SinkOpener
from edgerouter.errors import EdgerouterError, Rejected, Unavailable
from edgerouter.message import Message
from edgerouter.outcome import Failure, Outcome
from edgerouter.sink import Sink
from edgerouter.testing.held_loop import MOST_SECONDS
from edgerouter.testing.messages import make_context, make_message
from edgerouter.testing.needs import Selecting
from edgerouter.testing.server import DISTURBANCES, Received, SinkServer

SinkFailure = Unavailable | Rejected


def failures_of(failures: Iterable[Failure]) -> list[SinkFailure]:
    """Return the errors of failures."""
    return [failure.error for failure in failures]


def missing_of(outcome: Outcome) -> list[int]:
    """Return the indexes of all messages that a write did not deliver, in order."""
    return sorted([*(failure.index for failure in outcome.failed), *outcome.untried])


class SinkPromises(Selecting):
    """Declarations of a subclass, its two fixtures, and the steps that the tests are written in."""

    sink_class: ClassVar[type[Sink[Any]]]
    """The sink under test."""
    effectively_once: ClassVar[bool] = False
    """Writing a message again leaves one message: an object store, a FIFO queue."""
    keeps_order: ClassVar[bool] = True
    """Messages of one partition arrive in the order written."""
    accepts_binary: ClassVar[bool] = True
    """Payloads that are not text are accepted; otherwise they must be rejected."""
    accepts_empty: ClassVar[bool] = True
    """Empty payloads are accepted; otherwise they must be rejected."""
    throttle_tells_wait: ClassVar[bool] = True
    """The service gives a time to wait, and the sink passes it on in `retry_after`."""
    requests_per_write: ClassVar[int] = 1
    """Requests that one failing write of one message may make; more look like retries of the sink."""
    largest_test_bytes: ClassVar[int] = 8 * 1024 * 1024
    """Size limits above this are declared as `unsupported`."""
    resends_on_a_cut_connection: ClassVar[bool] = False
    """The HTTP client resends an idempotent request (PUT) once by itself when a kept-alive connection turns out to be closed, as
    RFC 9110, 9.2.2 allows; so a cut connection or a lost response need not appear as a failure."""
    writes_to_output: ClassVar[bool] = False
    """The sink writes to the process's standard output."""
    most_held_seconds: ClassVar[float] = MOST_SECONDS
    """Longest time for which the sink may block the event loop; more only if its SDK leaves no choice, with the reason."""
    patience: ClassVar[float] = 20.0
    """Most seconds that a single write may take here."""

    @pytest.fixture
    def server(self) -> SinkServer:
        """The service or its fake; a subclass replaces this, usually with an async generator that yields a running one."""
        raise NotImplementedError("a subclass of SinkConformance has a fixture `server` that gives a SinkServer")

    @pytest.fixture
    def config(self, server: SinkServer) -> Mapping[str, Any]:
        """The sink's fields as in the YAML file, pointing to `server`; a subclass replaces this."""
        raise NotImplementedError("a subclass of SinkConformance has a fixture `config` that gives the sink's own fields")

    def message(self, payload: bytes, sequence: int = 1, topic: str = "plant/line-1/temperature") -> Message:
        """Build a message for this sink; replace it if the sink accepts only payloads of some form."""
        return make_message(payload, topic=topic, sequence=sequence)

    def expected(self, message: Message) -> bytes:
        """Return the payload that a consumer gets for this message; replace it if the service inevitably changes payloads."""
        return message.payload

    # Steps of the tests

    def messages(self, count: int, *, start: int = 1, label: str = "m") -> list[Message]:
        """Build `count` small distinct messages with consecutive sequences from `start`."""
        return [self.message(f'{{"{label}": {sequence}}}'.encode(), sequence) for sequence in range(start, start + count)]

    def batch(self, sink: Sink[Any], count: int, *, start: int = 1, label: str = "m") -> list[Message]:
        """Build a batch of `count` messages, or of as many as one write may have."""
        return self.messages(min(count, sink.limits.max_messages or count), start=start, label=label)

    @asynccontextmanager
    async def opened(self, config: Mapping[str, Any]) -> AsyncIterator[Sink[Any]]:
        """Open the sink as the router does."""
        model = self.sink_class.Config.model_validate(dict(config))
        async with SinkOpener(self.sink_class).open(model, make_context()) as sink:
            yield sink

    async def write(self, sink: Sink[Any], batch: Sequence[Message]) -> Outcome:
        """Run one write, bounded in time, and check that it leaves the batch unchanged and returns a well-formed outcome."""
        before = list(batch)
        outcome = await self._bounded(sink.write(batch))
        assert list(batch) == before, "the batch is the router's: copy it to change or reorder it"
        assert isinstance(outcome, Outcome), f"return an Outcome, `DELIVERED` when all were taken, not {outcome!r}"
        places = missing_of(outcome)
        assert len(set(places)) == len(places), "a message failed twice in one write: return each index once"
        assert all(0 <= place < len(batch) for place in places), f"`Failure.index` is a place in the batch, from 0; not {places}"
        self.all_are(failures_of(outcome.failed), Unavailable | Rejected, "a failure holds an error of the contract")
        self._assert_receipts(outcome.receipts, len(batch) - len(places))
        return outcome

    async def _bounded(self, write: Awaitable[Outcome]) -> Outcome:
        try:
            async with asyncio.timeout(self.patience) as bound:
                return await write
        except (EdgerouterError, AssertionError):
            raise
        except Exception as error:
            assert not bound.expired(), (
                f"the write did not end within {self.patience} s: call once and raise at once: the router retries, and waits"
            )
            raise AssertionError(
                f"`write` raised {error!r}: translate the SDK's errors at one place, into Unavailable, Throttled, "
                "Unauthorized or Rejected"
            ) from error

    def _assert_receipts(self, receipts: Sequence[str] | str | None, delivered: int) -> None:
        if receipts is None or isinstance(receipts, str):
            return
        assert all(isinstance(receipt, str) for receipt in receipts), f"receipts are strings, not {receipts!r}"
        assert len(receipts) == delivered, (
            f"{len(receipts)} receipts for {delivered} delivered messages: return one for each of them in their order, one string "
            "for the whole batch, or `None`"
        )

    async def taken(self, sink: Sink[Any], batch: Sequence[Message]) -> None:
        """Run one write that must deliver everything."""
        outcome = await self.write(sink, batch)
        assert not missing_of(outcome), f"a healthy service took the whole batch; return only what was not taken, not {outcome}"

    def all_are(self, errors: Iterable[BaseException], kind: Any, advice: str) -> None:
        """Check that all errors are of this kind; otherwise fail with the advice and the errors."""
        wrong = [error for error in errors if not isinstance(error, kind)]
        assert not wrong, f"{advice}; the sink said {wrong!r}"

    async def failing_write(self, sink: Sink[Any], batch: Sequence[Message]) -> Sequence[SinkFailure]:
        """Run a write that must deliver nothing; return the error for all, or one per message."""
        try:
            outcome = await self.write(sink, batch)
        except (Unavailable, Rejected) as error:
            return [error]
        assert outcome.failed, "the service took nothing, and no failure says why: raise the error, or return it for each message"
        assert (count := len(missing_of(outcome))) == len(batch), (
            f"the service took none of {len(batch)} messages, and the sink returns {count} as failed or untried: raise the error, "
            "or return a failure for each message"
        )
        return failures_of(outcome.failed)

    async def cut_write(self, sink: Sink[Any], batch: Sequence[Message]) -> None:
        """Run a write that loses its connection: it fails, or the client's transport has sent it once more."""
        if self.resends_on_a_cut_connection:
            with suppress(Unavailable):
                await self.write(sink, batch)
            return
        advice = "translate a connection that is cut into Unavailable: it is unknown whether the messages arrived"
        self.all_are(await self.failing_write(sink, batch), Unavailable, advice)

    async def failing_from_open(self, config: Mapping[str, Any]) -> SinkFailure:
        """Return the first error of a sink whose service fails, in opening or, for a sink that opens lazily, in writing."""
        try:
            async with asyncio.timeout(self.patience), self.opened(config) as sink:
                errors = await self.failing_write(sink, self.messages(1))
        except Unavailable as error:
            return error
        return errors[0]

    async def disturb(self, server: SinkServer, disturbance: str, *arguments: Any) -> Any:
        """Inject a fault into the server."""
        assert disturbance in DISTURBANCES, disturbance
        try:
            return await getattr(server, disturbance)(*arguments)
        except NotImplementedError:
            pytest.fail(f"{type(server).__name__} neither does {disturbance!r}, nor does `unsupported` say why not")

    async def assert_received(self, server: SinkServer, messages: Sequence[Message], *, exactly: bool = True) -> None:
        """Check that consumers have exactly these messages; with `exactly`, each once and, if the sink keeps order, in order."""
        received = await server.received()
        wanted = [self.expected(message) for message in messages]
        got = [item.payload for item in received]
        if not exactly:
            assert set(got) == set(wanted), "consumers got other messages than those that the sink says are delivered"
        elif self.keeps_order:
            assert got == wanted, "consumers got other messages, some twice, or in another order (see `keeps_order`)"
        else:
            assert sorted(got) == sorted(wanted), "consumers got other messages, or some twice (see `effectively_once`)"
        self._assert_labels(received, messages)

    def _assert_labels(self, received: Sequence[Received], messages: Sequence[Message]) -> None:
        known = {(self.expected(message), message.topic) for message in messages}
        ids = {(self.expected(message), message.id) for message in messages}
        for item in received:
            assert item.topic is None or (item.payload, item.topic) in known, f"arrived under the wrong topic {item.topic!r}"
            assert item.id is None or (item.payload, item.id) in ids, f"arrived under the wrong id {item.id!r}"
