"""A repeated line is written once, and then its number once a minute; memory stays bounded."""

from __future__ import annotations

import logging
import tracemalloc
from collections.abc import Callable
from typing import Any

import pytest

from edgerouter.logs.folding import FOLD_SECONDS, MOST_LINES, Folding


class Clock:
    """A clock and a timer that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._alarms: list[tuple[float, Callable[[], None]]] = []

    def set(self, seconds: float, call: Callable[[], None]) -> None:
        self._alarms.append((self.now + seconds, call))

    def move(self, seconds: float) -> None:
        """Let time go by, and call what is due."""
        end = self.now + seconds
        while due := [alarm for alarm in self._alarms if alarm[0] <= end]:
            alarm = min(due, key=lambda each: each[0])
            self._alarms.remove(alarm)
            self.now = alarm[0]
            alarm[1]()
        self.now = end


class Lines(logging.Handler):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    @property
    def fields(self) -> list[dict[str, Any]]:
        """Fields of the lines, as structlog hands them over."""
        return [record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()} for record in self.records]


class Log:
    """A logger whose repeats are folded, with a clock of the test."""

    def __init__(self) -> None:
        self.clock, self.lines = Clock(), Lines()
        self.folding = Folding(self.lines, clock=lambda: self.clock.now, timer=self.clock.set)

    def write(self, event: str, level: int = logging.WARNING, logger: str = "edgerouter.delivery", **fields: Any) -> None:
        record = logging.LogRecord(logger, level, "file", 1, {"event": event, **fields}, (), None)
        self.folding.handle(record)


@pytest.fixture
def log() -> Log:
    return Log()


def test_the_same_error_214_times_in_60_seconds_is_two_lines(log: Log) -> None:
    for number in range(215):
        log.write("sink cannot deliver", sink="out", reason=f"503 (request {number:x}a7-{number})", seconds=number / 10)
        log.clock.move(0.25)
    log.clock.move(60)
    assert [line.get("repeated") for line in log.lines.fields] == [None, "214 times in 60 s"]
    assert log.lines.fields[1]["reason"] == "503 (request d6a7-214)"


def test_repeats_are_reported_once_a_minute_while_they_last(log: Log) -> None:
    for _ in range(600):
        log.write("sink cannot deliver", sink="out")
        log.clock.move(1)
    log.clock.move(200)
    lines = log.lines.fields
    assert len(lines) == 11
    assert 1 + sum(int(line["repeated"].split()[0]) for line in lines[1:]) == 600


def test_a_line_that_comes_again_after_a_quiet_minute_is_written(log: Log) -> None:
    for _ in range(3):
        log.write("sink cannot deliver", sink="out")
        log.clock.move(FOLD_SECONDS + 1)
    assert [line.get("repeated") for line in log.lines.fields] == [None] * 3


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"sink": "a1"}, {"sink": "a2"}),
        ({"sink": "a", "reason": "refused"}, {"sink": "a", "reason": "no answer"}),
        ({"sink": "a", "state": "retrying"}, {"sink": "a", "state": "throttled"}),
        ({"reason": "EDGEROUTER_A1 is misspelt"}, {"reason": "EDGEROUTER_A2 is misspelt"}),
        ({"level": logging.WARNING, "sink": "a"}, {"level": logging.ERROR, "sink": "a"}),
        ({"exc_info": ValueError()}, {"exc_info": TypeError()}),
    ],
    ids=["sink", "reason", "state", "variable", "level", "exception"],
)
def test_lines_about_different_things_are_all_written(one: dict[str, Any], other: dict[str, Any], log: Log) -> None:
    log.write("cannot deliver", **one)
    log.write("cannot deliver", **other)
    assert len(log.lines.fields) == 2


def test_messages_of_folded_lines_are_added_up(log: Log) -> None:
    for number in range(1, 5):
        log.write("messages dead-lettered", sink="out", messages=number, first=f"id-{number}")
    log.folding.flush()
    assert [line["messages"] for line in log.lines.fields] == [1, 9]


def test_a_traceback_is_written_once(log: Log) -> None:
    for _ in range(5):
        log.write("sink failed", sink="out", exc_info=ValueError("odd"), stack="line 1")
    log.folding.flush()
    assert [sorted(line.keys() & {"exc_info", "stack"}) for line in log.lines.fields] == [["exc_info", "stack"], []]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
def test_details_and_answers_to_an_operator_are_never_folded(level: int, log: Log) -> None:
    for _ in range(3):
        log.write("batch delivered" if level == logging.DEBUG else "signal received", level, sink="out", logger="edgerouter.run")
        log.write("configuration refused", logging.ERROR, logger="edgerouter.app")
        log.write("sink paused by an operator", logging.INFO, sink="out", logger="edgerouter.steering")
        log.write("edgerouter started", logging.INFO)
    assert len(log.lines.fields) == 12


def test_a_library_that_repeats_itself_is_folded(log: Log) -> None:
    for port in range(40000, 40010):
        log.folding.handle(logging.LogRecord("asyncio", logging.WARNING, "file", 1, "socket %d: broken pipe", (port,), None))
    log.folding.flush()
    assert [line["event"] for line in log.lines.fields] == [
        "socket 40000: broken pipe",
        "socket 40009: broken pipe (repeated 9 times in 1 s)",
    ]


def test_a_flood_of_different_and_long_lines_stays_bounded_in_memory(log: Log) -> None:
    log.lines.emit = lambda record: None  # type: ignore[method-assign]
    tracemalloc.start()
    try:
        for number in range(2 * MOST_LINES):
            for _ in range(2):
                log.write("sink cannot deliver", sink=f"s{number}", reason="é" * 1000)
            log.clock.move(0.001)
        assert tracemalloc.get_traced_memory()[0] < 3_000_000
    finally:
        tracemalloc.stop()


def test_the_process_reports_repeats_before_it_ends(log: Log) -> None:
    log.write("spool cannot be written")
    log.write("spool cannot be written")
    log.folding.flush()
    log.folding.flush()
    assert [line.get("repeated") for line in log.lines.fields] == [None, "once in 1 s"]
