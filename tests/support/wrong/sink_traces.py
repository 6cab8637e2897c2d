"""Sinks that leave something behind, hold the event loop up, or show what is secret."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import ClassVar, Self

import aiohttp
from pydantic import ConfigDict, Field

from edgerouter import DELIVERED, Message, Outcome, SinkContext, Unavailable
from support.wrong.catalogue import wrong
from support.wrong.honest_sink import EchoConfig, EchoSink

LOOP = ("sink", "test_the_event_loop_is_never_held_up", "await asyncio.to_thread")


@wrong("sink", "test_a_cancelled_write_leaves_nothing_behind", "cancel your tasks")
class Background(EchoSink):
    """Leaves a task when a write is cancelled."""

    later: ClassVar[list[asyncio.Task[None]]] = []

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except asyncio.CancelledError:
            self.later.append(asyncio.create_task(asyncio.sleep(60), name="background"))
            raise


@wrong("sink", "test_a_time_out_after_the_service_accepted_is_survived", "let CancelledError pass")
class Deaf(EchoSink):
    """Swallows its cancellation."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except asyncio.CancelledError:
            return DELIVERED


@wrong("sink", "test_closing_leaves_no_task_and_no_connection", "close the client when `open` is left")
class Leaking(EchoSink):
    """Never closes its session."""

    sessions: ClassVar[list[aiohttp.ClientSession]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        cls.sessions.append(aiohttp.ClientSession())
        yield cls(cls.sessions[-1], config)


@wrong("sink", "test_closing_leaves_no_task_and_no_connection", "end your threads")
class Threaded(EchoSink):
    """Leaves a thread that flushes now and then."""

    ended: ClassVar[list[threading.Event]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        cls.ended.append(threading.Event())
        threading.Thread(target=cls.ended[-1].wait, name="flusher", daemon=True).start()
        async with aiohttp.ClientSession() as session:
            yield cls(session, config)


@wrong("sink", "test_a_sink_opens_again_after_it_was_closed", "keep nothing outside of the object")
class Global(EchoSink):
    """Shares one session between all sinks of the process."""

    shared: ClassVar[list[aiohttp.ClientSession]] = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        if not cls.shared:
            cls.shared.append(aiohttp.ClientSession())
        async with cls.shared[0] as session:
            yield cls(session, config)


@wrong("sink", "test_a_failure_in_the_router_closes_the_sink_too", "let it pass")
class Swallowing(EchoSink):
    """Swallows every exception that ends the router."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            try:
                yield cls(session, config)
            except Exception:  # noqa: BLE001  (the fault)
                logging.getLogger("echo").debug("closed")


@wrong(*LOOP)
class Sleeping(EchoSink):
    """Sleeps in `write`."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        time.sleep(0.2)  # noqa: ASYNC251  (the fault)
        return await super().write(batch)


@wrong(*LOOP)
class Computing(EchoSink):
    """Computes for a tenth of a second."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        outcome = await super().write(batch)
        until = time.thread_time() + 0.1
        while time.thread_time() < until:
            pass
        return outcome


@wrong(*LOOP)
class SlowToOpen(EchoSink):
    """Runs a program in `open`."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            await asyncio.sleep(0)
            subprocess.run(["sleep", "0.2"], check=True)
            yield cls(session, config)


@wrong(*LOOP)
class SlowToClose(EchoSink):
    """Waits for something when it is closed."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: EchoConfig, context: SinkContext) -> AsyncIterator[Self]:
        async with aiohttp.ClientSession() as session:
            yield cls(session, config)
            time.sleep(0.2)  # noqa: ASYNC251  (the fault)


@wrong(*LOOP)
class BlockingLater(EchoSink):
    """Blocks in a task that it starts."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        slow = asyncio.create_task(self.slow())
        outcome = await super().write(batch)
        await slow
        return outcome

    async def slow(self) -> None:
        """Block."""
        time.sleep(0.2)  # noqa: ASYNC251  (the fault)


class Undocumented(EchoConfig):
    """Has a field without a docstring."""

    retries: int = 3
    extra: list[EchoConfig] = Field(default=[], description="documented")


@wrong("sink", "test_every_field_is_documented", "write a docstring under these fields")
class Misconfigured(EchoSink):
    """Has a field without a docstring."""

    Config = Undocumented


class Colliding(EchoConfig):
    """Has a field that the router has, too."""

    timeout: float = 1
    """Of a write."""


@wrong("sink", "test_no_field_has_the_name_of_a_policy", "every sink has these already")
class Collides(EchoSink):
    """Has a field with the name of a policy."""

    Config = Colliding


class Loose(EchoConfig):
    """Takes every key."""

    model_config = ConfigDict(extra="ignore")


@wrong("sink", "test_the_configuration_is_a_frozen_sink_config", "leave `extra`")
class Lenient(EchoSink):
    """Ignores a misspelt key."""

    Config = Loose


class Plain(EchoConfig):
    """Has a secret that is none."""

    api_token: str = ""
    """A field that sounds secret."""


@wrong("sink", "test_a_field_that_sounds_secret_is_one", "make these fields SecretStr")
class Unguarded(EchoSink):
    """Has a token that is plain text."""

    Config = Plain


class Open(EchoConfig):
    """Shows its secret."""

    def __repr__(self) -> str:
        return f"Open({self.token.get_secret_value()})"


@wrong("sink", "test_the_configuration_never_shows_a_secret", "leave SecretStr as it is")
class Shown(EchoSink):
    """Shows the secret in the repr of its configuration."""

    Config = Open


@wrong("sink", "test_no_error_shows_a_secret", "the value of a secret field stands in an error or the sink's repr")
class Visible(EchoSink):
    """Shows a secret in its repr."""

    def __repr__(self) -> str:
        return f"Visible({self.config.token.get_secret_value()})"


@wrong("sink", "test_no_error_shows_a_secret", "the value of a secret field stands in an error or the sink's repr")
class Talkative(EchoSink):
    """Shows a secret in an error."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable as error:
            raise Unavailable(f"{error} with {self.config.token.get_secret_value()}") from error


@wrong("sink", "test_no_error_shows_a_secret", "the value of a secret field stands in an error or the sink's repr")
class Noted(EchoSink):
    """Shows a secret in a note of an error."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        try:
            return await super().write(batch)
        except Unavailable as error:
            error.add_note(f"with {self.config.token.get_secret_value()}")
            raise


@wrong("sink", "test_no_error_shows_a_secret", "the value of a secret field stands in a log")
class Logging(EchoSink):
    """Logs a secret."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        logging.getLogger("echo").warning("posting with %s", self.config.token.get_secret_value())
        return await super().write(batch)


@wrong("sink", "test_nothing_is_logged", "raise or return it: the router logs")
class Chatty(EchoSink):
    """Logs every write."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        logging.getLogger("echo").warning("writing %d", len(batch))
        return await super().write(batch)


@wrong("sink", "test_nothing_is_logged", "a payload stands in its log")
class Debugging(EchoSink):
    """Logs payloads at level debug."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        logging.getLogger("echo").debug("writing %s", [message.payload for message in batch])
        return await super().write(batch)


@wrong("sink", "test_nothing_is_logged", "the sink prints")
class Printing(EchoSink):
    """Prints what it does."""

    async def write(self, batch: Sequence[Message]) -> Outcome:
        print("writing", len(batch))
        return await super().write(batch)
