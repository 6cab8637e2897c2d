"""The conformance suite passes an honest sink and catches each way in which a sink can lie.

Covers also: edgerouter.testing.config_promises, edgerouter.testing.delivery, edgerouter.testing.fault_promises,
edgerouter.testing.held_loop, edgerouter.testing.http_server, edgerouter.testing.loop_promises, edgerouter.testing.messages,
edgerouter.testing.limit_promises, edgerouter.testing.promises, edgerouter.testing.server, edgerouter.testing.write_promises.
"""

from __future__ import annotations

import asyncio
import base64
import json
import logging
import subprocess
import time
from collections.abc import AsyncIterator, Hashable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, ClassVar, Self, cast

import aiohttp
import pytest
from aiohttp import web
from pydantic import Field, SecretBytes, SecretStr

from edgerouter import (
    DELIVERED,
    Failure,
    Limits,
    Message,
    Outcome,
    Rejected,
    Sink,
    SinkConfig,
    SinkContext,
    Throttled,
    Unauthorized,
    Unavailable,
)
from edgerouter.config.model import SinkPolicies
from edgerouter.testing import HttpSinkServer, Received, SinkConformance
from edgerouter.testing.config_promises import POLICY_FIELDS, secrets_of


class EchoServer(HttpSinkServer):
    """Takes JSON arrays of messages and answers for each whether it took it."""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        results = []
        for item in json.loads(body):
            payload = base64.b64decode(item["payload"])
            if self.rejected(payload):
                results.append("rejected")
            elif self.fails_now(payload):
                results.append("busy")
            else:
                self.taken.append(Received(payload, item["topic"], item["id"]))
                results.append("ok")
        return web.json_response(results)


class EchoConfig(SinkConfig):
    """The honest sink's fields."""

    url: str
    """Address of the service."""
    token: SecretStr = SecretStr("")
    """Credential of the service."""


class EchoSink(Sink[EchoConfig]):
    """An honest sink."""

    def __init__(self, session: aiohttp.ClientSession, config: EchoConfig) -> None:
        self.session = session
        self.config = config

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            yield cls(session, config)

    @property
    def limits(self) -> Limits:
        return Limits(max_messages=10, max_bytes=4000, max_message_bytes=2000)

    def size_of(self, message: Message) -> int:
        return len(message.payload) + len(message.topic.encode())

    async def write(self, batch: Sequence[Message]) -> Outcome:
        items = [{"id": m.id, "topic": m.topic, "payload": base64.b64encode(m.payload).decode()} for m in batch]
        try:
            async with self.session.post(self.config.url, json=items) as response:
                if response.status == 429:
                    raise Throttled("too much", retry_after=float(response.headers["Retry-After"]))
                if response.status == 403:
                    raise Unauthorized("may not")
                if response.status != 200:
                    raise Unavailable(f"status {response.status}")
                results = await response.json()
        except aiohttp.ClientError as error:
            raise Unavailable(str(error)) from error
        failed: dict[str, Rejected | Unavailable] = {"rejected": Rejected("never"), "busy": Unavailable("busy")}
        return Outcome([Failure(place, failed[result]) for place, result in enumerate(results) if result != "ok"])


class EchoSuite(SinkConformance):
    sink_class: ClassVar[type[Sink[Any]]] = EchoSink

    @pytest.fixture
    async def server(self) -> AsyncIterator[EchoServer]:
        async with EchoServer().running() as server:
            yield server

    @pytest.fixture
    def config(self, server: EchoServer) -> Mapping[str, Any]:
        return {"url": server.url, "token": "hush-hush"}


class TestAnHonestSink(EchoSuite):
    """Passes every test."""


class Retrying(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable:
            return await super().write(batch)


class Buffering(EchoSink):
    kept: ClassVar[list[Message]] = []

    async def write(self, batch: Sequence[Message]) -> Outcome:
        everything, self.kept[:] = [*self.kept, *batch], []
        try:
            return await super().write(everything)
        except Unavailable:
            self.kept[:] = everything
            raise


class Optimistic(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable:
            return DELIVERED


class Pessimistic(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        if outcome.failed:
            raise outcome.failed[0].error
        return outcome


class Rejecting(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unauthorized as error:
            raise Rejected("may not") from error


class Textual(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write([Message(m.topic, m.payload.decode(errors="replace").encode(), m.received_at) for m in batch])


class Background(EchoSink):
    later: ClassVar[list[asyncio.Task[None]]] = []

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except asyncio.CancelledError:
            self.later.append(asyncio.create_task(asyncio.sleep(60)))
            raise


class Leaking(EchoSink):
    sessions: ClassVar[list[aiohttp.ClientSession]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        cls.sessions.append(aiohttp.ClientSession())
        yield cls(cls.sessions[-1], config)


class Talkative(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable as error:
            raise Unavailable(f"{error} with {self.config.token.get_secret_value()}") from error


class Undercounting(EchoSink):
    def size_of(self, message: Message) -> int:
        return min(len(message.payload), 2000)


class Vague(EchoConfig):
    retries: int = 3
    extra: list[EchoConfig] = Field(default=[], description="documented")
    timeout: float = 1


class Misconfigured(EchoSink):
    Config = Vague


class Plain(EchoConfig):
    api_token: str = ""
    """A field that sounds secret and is not."""


class Unguarded(EchoSink):
    Config = Plain


class Noted(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable as error:
            error.add_note(f"with {self.config.token.get_secret_value()}")
            raise


class Logging(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        logging.getLogger("echo").warning("posting with %s", self.config.token.get_secret_value())
        return await super().write(batch)


class Impatient(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Throttled:
            return await super().write(batch)


class Remembering(EchoSink):
    def __init__(self, session: aiohttp.ClientSession, config: EchoConfig) -> None:
        super().__init__(session, config)
        self.seen: set[str] = set()

    async def write(self, batch: Sequence[Message]) -> Outcome:
        new = [message for message in batch if message.id not in self.seen]
        outcome = await super().write(new) if new else DELIVERED
        self.seen |= {message.id for message in new}
        return outcome


class Merging(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write(list({message.payload: message for message in batch}.values()))


class Particular(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await super().write([message for message in batch if message.properties is None])


class Fickle(EchoSink):
    def order_of(self, message: Message) -> Hashable:
        return object()


class Grabbing(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        cast("list[Message]", batch).clear()
        return outcome


class CountingCharacters(EchoSink):
    def size_of(self, message: Message) -> int:
        return len(message.payload.decode(errors="replace")) + len(message.topic)

    async def write(self, batch: Sequence[Message]) -> Outcome:
        too_large = [Failure(place, Rejected("413")) for place, m in enumerate(batch) if super(type(self), self).size_of(m) > 2000]
        return Outcome(too_large) if too_large else await super().write(batch)


class Sleeping(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        time.sleep(0.1)  # noqa: ASYNC251  (the lie)
        return await super().write(batch)


class Computing(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return outcome


class SlowToOpen(EchoSink):
    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            await asyncio.sleep(0)
            subprocess.run(["sleep", "0.1"], check=True)
            yield cls(session, config)


class SlowToClose(EchoSink):
    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            yield cls(session, config)
            time.sleep(0.1)  # noqa: ASYNC251  (the lie)


class BlockingLater(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        slow = asyncio.create_task(self.slow())
        outcome = await super().write(batch)
        await slow
        return outcome

    async def slow(self) -> None:
        time.sleep(0.1)  # noqa: ASYNC251  (the lie)


class Miscounting(EchoSink):
    async def write(self, batch: Sequence[Message]) -> Outcome:
        return replace(await super().write(batch), receipts=["one for all"])


LIES = [
    (Miscounting, "test_as_many_messages_as_the_limit_allows_are_delivered"),
    *[(liar, "test_the_event_loop_is_never_held_up") for liar in (Sleeping, Computing, SlowToOpen, SlowToClose, BlockingLater)],
    (Unguarded, "test_a_field_that_sounds_secret_is_one"),
    (Noted, "test_no_error_shows_a_secret"),
    (Logging, "test_no_error_shows_a_secret"),
    (Logging, "test_nothing_is_logged"),
    (Impatient, "test_the_sink_does_not_retry_by_itself"),
    (Remembering, "test_the_same_batch_may_be_written_again"),
    (Merging, "test_equal_messages_are_not_merged"),
    (Particular, "test_messages_of_every_kind_are_delivered"),
    (Fickle, "test_partition_and_order_are_properties_of_the_message"),
    (Grabbing, "test_one_message_is_delivered"),
    (CountingCharacters, "test_sizes_are_those_of_the_bytes_that_are_sent"),
    (Retrying, "test_the_sink_does_not_retry_by_itself"),
    (Buffering, "test_nothing_is_kept_between_writes"),
    (Optimistic, "test_a_broken_service_is_unavailable"),
    (Optimistic, "test_a_lost_response_is_a_failure"),
    (Pessimistic, "test_a_partial_failure_names_the_messages_not_taken"),
    (Rejecting, "test_a_service_that_refuses_us_says_unauthorized"),
    (Textual, "test_binary_payloads_are_delivered_byte_for_byte"),
    (Talkative, "test_no_error_shows_a_secret"),
    (Undercounting, "test_a_message_over_the_largest_size_is_known_to_be"),
    (Misconfigured, "test_every_field_is_documented"),
    (Misconfigured, "test_no_field_has_the_name_of_a_policy"),
]


@pytest.mark.parametrize(("liar", "promise"), LIES, ids=lambda value: getattr(value, "__name__", value))
async def test_a_lie_is_caught_by_the_test_of_that_promise(
    liar: type[EchoSink], promise: str, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    await assert_caught(liar, promise, caplog=caplog, capsys=capsys)


async def assert_caught(liar: type[EchoSink], promise: str, patience: float = 20, **more: Any) -> None:
    suite = EchoSuite()
    suite.sink_class = liar  # type: ignore[misc]  # this one suite object is about the liar
    suite.patience = patience  # type: ignore[misc]  # a leak is waited for that long
    test = getattr(suite, promise)
    async with EchoServer().running() as server:
        fixtures = {"server": server, "config": {"url": server.url, "token": "hush-hush"}, "unit": "é".encode(), **more}
        wanted = test.__code__.co_varnames[1 : test.__code__.co_argcount]
        with pytest.raises((AssertionError, Rejected, Unavailable, TimeoutError, pytest.fail.Exception)):
            await test(**{name: fixtures[name] for name in wanted})


async def test_work_that_goes_on_after_a_cancelled_write_is_caught() -> None:
    await assert_caught(Background, "test_a_cancelled_write_leaves_nothing_behind", patience=0.5)
    for task in Background.later:
        task.cancel()


async def test_a_session_that_is_never_closed_is_caught() -> None:
    await assert_caught(Leaking, "test_closing_leaves_no_task_and_no_connection", patience=0.5)
    for session in Leaking.sessions:
        await session.close()


async def test_a_missing_fault_that_is_not_declared_fails_its_tests() -> None:
    class Lazy(EchoServer):
        async def throttle(self, seconds: float) -> None:
            raise NotImplementedError

    suite = EchoSuite()
    async with Lazy().running() as server:
        with pytest.raises(pytest.fail.Exception, match="Lazy neither does 'throttle'"):
            await suite.disturb(server, "throttle", 1)
    suite.unsupported = {"throtle": "misspelt"}  # type: ignore[misc]  # this one suite object is misspelt
    with pytest.raises(AssertionError):
        await suite.test_what_is_declared_unsupported_has_a_name_and_a_reason()


@pytest.mark.parametrize(
    ("limits", "unsupported"),
    [
        (Limits(), {"max_bytes": "none"}),
        (Limits(max_bytes=2**40), {"max_message_bytes": "none"}),
        (Limits(max_bytes=4000), {"max_bytes": "none", "max_message_bytes": "none"}),
    ],
)
async def test_a_limit_that_is_neither_testable_nor_declared_or_is_both_is_caught(
    limits: Limits, unsupported: Mapping[str, str]
) -> None:
    class Limited(EchoSink):
        @property
        def limits(self) -> Limits:
            return limits

    suite = EchoSuite()
    suite.sink_class = Limited  # type: ignore[misc]  # this one suite object is about these limits
    suite.unsupported = unsupported  # type: ignore[misc]  # and declares them wrongly
    with pytest.raises(AssertionError, match="`unsupported`"):
        await suite.test_the_limits_make_sense({"url": "http://127.0.0.1:1"})


async def test_a_configuration_without_a_secret_is_caught_if_that_is_not_declared() -> None:
    with pytest.raises(AssertionError, match="give the `config` of the test a secret"):
        await EchoSuite().test_the_configuration_never_shows_a_secret({"url": "http://127.0.0.1:1"})


class ManySecrets(EchoConfig):
    headers: dict[str, SecretStr] = {}
    """Secrets by name."""
    keys: list[SecretBytes] = []
    """Secrets without a name."""
    inner: list[EchoConfig] = []
    """Sections with secrets."""


def test_secrets_in_nested_sections_lists_and_mappings_are_found() -> None:
    inner = EchoConfig(url="u", token=SecretStr("d"))
    config = ManySecrets(
        url="u", token=SecretStr("a"), headers={"x": SecretStr("b")}, keys=[SecretBytes(b"c"), SecretBytes(b"")], inner=[inner]
    )
    assert list(secrets_of(config)) == ["a", "b", "c", "d"]


async def test_a_sink_that_says_that_it_blocks_may() -> None:
    class Declared(Sleeping):
        blocking = True

    suite = EchoSuite()
    suite.sink_class = Declared  # type: ignore[misc]  # this one suite object is about the sink that blocks
    async with EchoServer().running() as server:
        await suite.test_the_event_loop_is_never_held_up({"url": server.url})


def test_the_suite_knows_the_names_of_all_policies() -> None:
    assert set(SinkPolicies.model_fields) | {"type"} == POLICY_FIELDS


def test_the_fakes_come_without_pytest() -> None:
    import sys

    program = "import sys, edgerouter.testing as t; t.make_message(); assert not {'pytest', 'edgerouter.spool'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
