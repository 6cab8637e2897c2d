"""Problems of a source are retried and reported, or end its deliveries."""

from __future__ import annotations

import asyncio

import pytest
from structlog.testing import capture_logs

from edgerouter import SourceContext, Unauthorized, Unavailable
from edgerouter.receiving import Problems


class Reports:
    """Everything that `Problems` reports."""

    def __init__(self) -> None:
        self.connected: list[tuple[bool, str]] = []
        self.ended: list[Unavailable] = []

    def problems(self) -> Problems:
        context = SourceContext(
            name="cloud",
            host="edge-1",
            spool="5p00l",
            flush_now=lambda: None,
            dropped=lambda _topic, _messages, _reason: None,
            connected=lambda connected, reason: self.connected.append((connected, reason)),
        )
        return Problems(context, "queue commands", end=self.ended.append)


@pytest.fixture
def reports() -> Reports:
    return Reports()


def test_a_source_is_connected_once_every_awaited_activity_works(reports: Reports) -> None:
    problems = reports.problems()
    problems.until(["0", "1"])

    problems.solved("0")
    assert reports.connected == []
    problems.solved("1")
    problems.solved("1")

    assert reports.connected == [(True, "")]


def test_a_source_is_connected_again_when_the_last_problem_is_solved(reports: Reports) -> None:
    problems = reports.problems()

    problems.occurred("receive", "no answer")
    problems.occurred("extend", "busy")
    problems.solved("receive")
    assert "extend" in problems
    problems.solved("extend")

    assert reports.connected == [(False, "no answer"), (False, "busy"), (True, "")]


def test_a_problem_is_logged_when_it_begins_and_not_at_each_attempt(reports: Reports) -> None:
    with capture_logs() as logged:
        problems = reports.problems()
        for reason in ("no answer", "refused"):
            problems.occurred("receive", reason)

    assert [entry["reason"] for entry in logged] == ["no answer"]
    assert reports.connected[-1] == (False, "refused")


async def test_a_refusal_is_not_retried(reports: Reports) -> None:
    with pytest.raises(Unauthorized, match="no role"):
        await reports.problems().retry("receive", Unauthorized("no role"), 1)


async def test_the_failure_of_a_task_ends_the_deliveries(reports: Reports) -> None:
    async def fail() -> None:
        async with asyncio.TaskGroup():
            raise Unavailable("the link is lost")

    await asyncio.wait([reports.problems().start(fail(), "receive")])

    assert [str(error) for error in reports.ended] == ["the link is lost"]


async def test_a_bug_in_a_task_is_logged_and_ends_the_deliveries_too(reports: Reports) -> None:
    async def fail() -> None:
        raise KeyError("MessageId")

    with capture_logs() as logged:
        await asyncio.wait([reports.problems().start(fail(), "receive")])

    assert [str(error) for error in reports.ended] == ["queue commands: KeyError"]
    assert [entry["log_level"] for entry in logged] == ["error"]
