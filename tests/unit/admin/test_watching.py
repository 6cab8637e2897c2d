"""Changes of sinks, sources and spool, drops and dead letters become events, at most one a subject and second."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from edgerouter import Outcome
from edgerouter.admin.running import RunningRouter
from edgerouter.admin.watching import Watching
from edgerouter.errors import Rejected
from edgerouter.outcome import Failure
from edgerouter.pipeline.intake import IntakeStatus
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.spool.status import Ledger
from edgerouter.telemetry.events import Events
from support.admin_api import box
from support.pipeline import configured, scripted, until


class Watched:
    """A router whose numbers a test sets."""

    def __init__(self) -> None:
        self.sink, self.source = DeliveryStatus(), IntakeStatus()
        self.events = Events()
        self.drops: dict[tuple[str, str, str], int] = {("out", "t", "old"): 5}
        self.letters = 7
        self.state = ("ok", "")
        self.gone = False
        self.watching = Watching(cast("RunningRouter", self))

    @property
    def spool(self) -> Any:
        return SimpleNamespace(
            drops=self.drops,
            ledgers={"out": Ledger(dead_lettered=self.letters)},
            status=SimpleNamespace(state=self.state[0], reason=self.state[1]),
        )

    def deliveries(self) -> list[tuple[str, DeliveryStatus]]:
        return [] if self.gone else [("out", self.sink)]

    def intakes(self) -> list[tuple[str, IntakeStatus]]:
        return [] if self.gone else [("in", self.source)]

    def look(self) -> list[tuple[str, str, str, int]]:
        """Return what the next look finds: kind, subject, text, messages."""
        before = self.events.last
        self.watching.look()
        return [(event.kind, event.subject, event.text, event.messages) for event in self.events.after(before).events]


def test_without_news_there_are_no_events_and_losses_of_earlier_runs_are_not_news() -> None:
    assert Watched().look() == []


def test_a_sink_that_fails_and_recovers_makes_two_events() -> None:
    it = Watched()
    it.sink.state = "ok"
    assert it.look() == [("sink", "out", "delivers", 0)]
    it.sink.state, it.sink.last_error, it.sink.last_error_at = "retrying", "no route", 1.0
    assert it.look() == [("sink", "out", "no route", 0)]
    it.sink.last_error_at = 2.0
    assert it.look() == [], "the same error again"
    it.sink.state = "ok"
    assert it.look() == [("sink", "out", "delivers again", 0)]


def test_a_failure_between_two_looks_is_not_lost() -> None:
    it = Watched()
    it.sink.state = "ok"
    it.look()
    it.sink.last_error, it.sink.last_error_at = "reset", 5.0
    assert it.look() == [("sink", "out", "failed and delivers again: reset", 0)]


def test_a_source_that_connects_loses_its_connection_and_returns_makes_events() -> None:
    it = Watched()
    it.source.connected, it.source.reason = True, ""
    assert it.look() == [("source", "in", "connected", 0)]
    it.source.connected, it.source.reason = False, "refused"
    assert it.look() == [("source", "in", "refused", 0)]
    it.source.connected, it.source.reopened = True, 1
    assert it.look() == [("source", "in", "connected", 0)]


def test_the_spool_that_fills_and_empties_makes_events() -> None:
    it = Watched()
    it.state = ("full", "the disk is full")
    assert it.look() == [("spool", "", "the disk is full", 0)]
    it.state = ("ok", "")
    assert it.look() == [("spool", "", "accepts messages again", 0)]


def test_losses_are_summed_by_sink_and_reason() -> None:
    it = Watched()
    it.drops |= {("out", "a", "full"): 2, ("out", "b", "full"): 3, ("", "a", "too large"): 1}
    it.letters += 4
    assert sorted((kind, subject, messages) for kind, subject, _, messages in it.look()) == [
        ("dead_lettered", "out", 4), ("dropped", "", 1), ("dropped", "out", 5),
    ]  # fmt: skip
    it.letters -= 9
    assert it.look() == [], "a replay is not a loss"


def test_what_a_reload_takes_away_is_forgotten() -> None:
    it = Watched()
    it.sink.state = "ok"
    it.look()
    it.gone = True
    assert it.look() == []
    it.gone = False
    assert it.look() == [("sink", "out", "delivers", 0)]


async def test_a_running_router_records_dead_letters(tmp_path: Path) -> None:
    sink = scripted(lambda _: Outcome(failed=[Failure(0, Rejected("too hot"))]))
    async with box(tmp_path, sinks=[configured(sink)]) as it:
        await it.publish("a", b"1")
        await until(lambda: [e for e in it.router.events.after(0).events if e.kind == "dead_lettered" and e.messages == 1], 30)
