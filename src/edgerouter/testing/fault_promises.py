"""Conformance tests of a sink whose service or network fails."""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgerouter.errors import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.testing.config_promises import secrets_of
from edgerouter.testing.delivery import deliver
from edgerouter.testing.needs import needs
from edgerouter.testing.promises import failures_of, missing_of
from edgerouter.testing.server import SinkServer
from edgerouter.testing.write_promises import WritePromises

BAD = b"~bad~"
REFUSED = "401, 403 and 404 are Unauthorized: the operator must act, and every message is kept until then"


def whole_text(error: BaseException) -> str:
    """Return the text of an error with all its causes."""
    texts = []
    cause: BaseException | None = error
    while cause is not None:
        texts.append(" ".join([repr(cause), str(cause), *getattr(cause, "__notes__", ())]))
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)
    return "\n".join(texts)


class FaultPromises(WritePromises):
    """A sink reports every failure truthfully, once, and keeps nothing: the router decides on the reaction."""

    @needs("stop")
    async def test_a_service_that_is_away_is_unavailable(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Without a listener, `open`, or the first `write` of a sink that opens lazily, raises `Unavailable`."""
        await self.disturb(server, "stop")
        self.all_are([await self.failing_from_open(config)], Unavailable, "translate a refused connection into Unavailable")

    @needs("refuse")
    async def test_a_service_that_refuses_us_says_unauthorized(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """401, 403 and 404 are `Unauthorized`: the operator must act, and no message is rejected for it."""
        await self.disturb(server, "refuse")
        self.all_are([await self.failing_from_open(config)], Unauthorized, REFUSED)

    @needs("refuse", "heal")
    async def test_a_permission_that_comes_back_is_enough(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A refused message is delivered by a later write, without reopening the sink."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 2)
            await self.disturb(server, "refuse")
            self.all_are(await self.failing_write(sink, batch), Unauthorized, REFUSED)
            await self.disturb(server, "heal")
            await self.taken(sink, batch)
        await self.assert_received(server, batch)

    @needs("fail", "heal")
    async def test_a_broken_service_is_unavailable(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """HTTP 500 and the like: `Unavailable`, and the same write succeeds later."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 2)
            await self.disturb(server, "fail")
            advice = "a service that is broken takes the messages later: translate its 5xx into Unavailable"
            self.all_are(await self.failing_write(sink, batch), Unavailable, advice)
            await self.disturb(server, "heal")
            await self.taken(sink, batch)
        await self.assert_received(server, batch)

    @needs("requests", "heal")
    async def test_the_sink_does_not_retry_by_itself(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """One write, one request, whatever the failure: only the router retries."""
        async with self.opened(config) as sink:
            for disturbance, arguments in (("fail", ()), ("throttle", (1,)), ("refuse", ())):
                if disturbance in self.unsupported:
                    continue
                await self.disturb(server, disturbance, *arguments)
                before = await self.disturb(server, "requests")
                await self.failing_write(sink, self.messages(1))
                made = await self.disturb(server, "requests") - before
                await self.disturb(server, "heal")
                assert made <= self.requests_per_write, (
                    f"{made} requests for one message that {disturbance!r} kept away: switch off the SDK's retries, and write none"
                )
                assert made > 0 or disturbance == "refuse", f"the write failed under {disturbance!r} and made no request"

    @needs("throttle", "heal")
    async def test_a_throttled_sink_says_so_and_for_how_long(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """429 and the like are `Throttled`, with the wait that the service asked for; the write succeeds afterwards."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 2)
            await self.disturb(server, "throttle", 7)
            errors = await self.failing_write(sink, batch)
            self.all_are(errors, Throttled, "translate 429 and its like into Throttled")
            waits = [error.retry_after for error in errors if isinstance(error, Throttled)]
            assert not self.throttle_tells_wait or all(wait is not None and 7 <= wait < 8 for wait in waits), (
                f"the service asked to wait for 7 s: pass it on in `retry_after`, in seconds; it is {waits} "
                "(a service that never states it: `throttle_tells_wait = False`)"
            )
            await self.disturb(server, "heal")
            await self.taken(sink, batch)
        await self.assert_received(server, batch)

    @needs("reject")
    async def test_a_message_that_is_never_taken_is_rejected_alone(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """One poisonous message is identified by its index, or found by bisection; its neighbours are delivered."""
        messages = self.messages(4)
        messages[2] = self.message(BAD, 3)
        await self.disturb(server, "reject", BAD)
        async with self.opened(config) as sink:
            failures = await deliver(sink, messages)
        places = [failure.index for failure in failures]
        assert places == [2], f"message 2 alone is never taken; the sink blames {places}. Return a Failure for it, or raise"
        advice = "what the service never takes is Rejected"
        self.all_are(failures_of(failures), Rejected, advice)
        await self.assert_received(server, messages[:2] + messages[3:])

    @needs("fail_once")
    async def test_a_partial_failure_names_the_messages_not_taken(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Messages not listed are delivered, listed ones are not; after another write, all have arrived."""
        messages = self.messages(5)
        messages[1], messages[4] = self.message(BAD + b"1", 2), self.message(BAD + b"4", 5)
        async with self.opened(config) as sink:
            await self.disturb(server, "fail_once", BAD)
            assert (sink.limits.max_messages or 5) >= 5, "a sink of small batches declares fail_once as unsupported"
            try:
                outcome = await self.write(sink, messages)
            except (Unavailable, Rejected) as error:
                raise AssertionError(
                    f"the service took three of five messages, and the sink raised {error!r} for all: return a Failure for each "
                    "message that was not taken"
                ) from error
            missing = missing_of(outcome)
            assert set(missing) >= {1, 4}, f"the service did not take messages 1 and 4 (from 0); the sink told of {missing}"
            advice = "what the service did not take this once is Unavailable: Rejected would dead-letter it"
            self.all_are(failures_of(outcome.failed), Unavailable, advice)
            await self._assert_same_set(server, [message for place, message in enumerate(messages) if place not in missing])
            for _ in range(len(messages)):
                again = await self.write(sink, [messages[place] for place in missing])
                missing = [missing[place] for place in missing_of(again)]
                if not missing:
                    break
            assert missing == [], "what failed once is taken when it is written again"
        await self._assert_same_set(server, messages)

    @needs("lose_next_response")
    async def test_a_lost_response_is_a_failure(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """The service accepted the batch but its answer was lost: `Unavailable`, and writing it again is safe."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 3)
            await self.disturb(server, "lose_next_response")
            await self.cut_write(sink, batch)
            await self.taken(sink, batch)
        await self.assert_received(server, batch, exactly=self.effectively_once)

    @needs("cut_next")
    async def test_a_connection_cut_in_the_middle_is_a_failure(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Half a request: `Unavailable`, and the next write uses a new connection."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 3)
            await self.taken(sink, self.messages(1))
            await self.disturb(server, "cut_next")
            await self.cut_write(sink, batch)
            await self.taken(sink, batch)
        await self.assert_received(server, [*self.messages(1), *batch], exactly=False)

    @needs("requests", "stall", "heal")
    async def test_a_time_out_after_the_service_accepted_is_survived(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """The router stops waiting, the sink stays usable, and writing again is safe."""
        async with self.opened(config) as sink:
            batch = self.batch(sink, 3)
            await self._cancel_a_write(server, sink, batch)
            await self.disturb(server, "heal")
            await self.taken(sink, batch)
        await self.assert_received(server, batch, exactly=self.effectively_once)

    @needs("requests", "stall", "heal")
    async def test_a_cancelled_write_leaves_nothing_behind(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """Leaves no task, no connection, and no message that a hidden buffer sends later."""
        tasks_before = asyncio.all_tasks()
        async with self.opened(config) as sink:
            await self._cancel_a_write(server, sink, self.batch(sink, 3))
            before = await self.disturb(server, "requests")
        await self.disturb(server, "heal")
        await self.assert_nothing_left(server, tasks_before)
        assert await self.disturb(server, "requests") == before, (
            "something was sent after the write was cancelled and the sink closed"
        )

    @needs("fail", "heal")
    async def test_nothing_is_kept_between_writes(self, server: SinkServer, config: Mapping[str, Any]) -> None:
        """A failed write is forgotten: the next one sends only its own messages."""
        async with self.opened(config) as sink:
            later = self.batch(sink, 2, start=11, label="later")
            await self.disturb(server, "fail")
            await self.failing_write(sink, self.batch(sink, 2, label="failed"))
            await self.disturb(server, "heal")
            await self.taken(sink, later)
        await self.assert_received(server, later)

    @needs("secrets")
    async def test_no_error_shows_a_secret(
        self, server: SinkServer, config: Mapping[str, Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The value of a secret appears neither in the sink's repr, nor in an error or its causes, nor in logs or output."""
        caplog.set_level(logging.INFO)
        secrets = list(secrets_of(self.sink_class.Config.model_validate(dict(config))))
        shown = []
        async with self.opened(config) as sink:
            shown.append(repr(sink))
            for disturbance in ("refuse", "fail", "stop"):
                if disturbance in self.unsupported:
                    continue
                await self.disturb(server, disturbance)
                shown += [whole_text(error) for error in await self.failing_write(sink, self.messages(1))]
        printed = capsys.readouterr()
        logged = [record for record in caplog.records if record.name != "aiohttp.access"]  # the server logs in the same process
        places = {
            "an error or the sink's repr": "\n".join(shown),
            "a log": "\n".join(map(caplog.handler.format, logged)),
            "output": printed.out + printed.err,
        }
        for place, text in places.items():
            assert not any(secret in text for secret in secrets), f"the value of a secret field stands in {place}: {text}"

    async def test_nothing_is_logged(
        self, server: SinkServer, config: Mapping[str, Any], caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The router reports events of a sink, once and with its name; a sink raises and returns."""
        module = sys.modules[self.sink_class.__module__]
        package = str(Path(str(module.__file__)).parent)
        capsys.readouterr()
        caplog.set_level(logging.DEBUG)
        async with self.opened(config) as sink:
            await self.taken(sink, self.messages(1, label="private"))
            if "fail" not in self.unsupported:
                await self.disturb(server, "fail")
                await self.failing_write(sink, self.messages(1, start=2))
        records = [record for record in caplog.records if record.pathname.startswith(package)]
        own = [record.getMessage() for record in records if record.levelno >= logging.INFO]
        assert not own, f"the sink logs: {own}; raise or return it: the router logs, once and with the sink's name"
        shown = [text for record in records if "private" in (text := record.getMessage())]
        assert not shown, f"a payload stands in its log, at level debug: {shown}"
        printed = capsys.readouterr()
        assert self.writes_to_output or not printed.out + printed.err, f"the sink prints: {printed.out + printed.err}"

    async def _cancel_a_write(self, server: SinkServer, sink: Any, batch: Any) -> None:
        before = await self.disturb(server, "requests")
        await self.disturb(server, "stall")
        write = asyncio.create_task(sink.write(batch), name="write under test")
        async with asyncio.timeout(self.patience):
            while await self.disturb(server, "requests") == before:
                assert not write.done(), "the write ended although the service did not answer"
                await asyncio.sleep(0.01)
            write.cancel()
            await asyncio.wait((write,))
        assert write.cancelled(), (
            "the write was cancelled, and ended as if it were not: let CancelledError pass, and close a connection whose "
            "answer may still come"
        )
