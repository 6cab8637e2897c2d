"""The log as a whole: repeats folded, and priorities for the journal alone.

Covers also: edgerouter.logs.journal.
"""

from __future__ import annotations

import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from edgerouter.config.model import LogConfig
from edgerouter.logs.journal import is_journal
from edgerouter.logs.setup import configure


@pytest.fixture(autouse=True)
def _undone() -> Iterator[None]:
    """Leave the process's logging as it was."""
    root = logging.getLogger()
    before, level, configured = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.configure(**configured)


def log_of(path: Path, monkeypatch: pytest.MonkeyPatch, *, journal: bool, format_: Any = "json") -> list[str]:
    """Lines that an info, a failure with its traceback and three equal warnings make on a stream."""
    with path.open("w") as stream:
        found = os.fstat(stream.fileno())
        inode = found.st_ino if journal else found.st_ino + 1
        monkeypatch.setenv("JOURNAL_STREAM", f"{found.st_dev}:{inode}")
        monkeypatch.setattr(sys, "stderr", stream)
        configure(LogConfig(format=format_))
        log = structlog.get_logger("edgerouter.test")
        log.info("started")
        try:
            int("odd")
        except ValueError:
            log.exception("failed")
        for _ in range(3):
            log.warning("sink cannot deliver", sink="out")
        for handler in logging.getLogger().handlers:
            handler.flush()
    return path.read_text().splitlines()


def test_every_line_for_the_journal_begins_with_its_priority(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lines = log_of(tmp_path / "log", monkeypatch, journal=True)
    assert [line[:3] for line in lines] == ["<6>", "<3>", "<4>", "<4>"]
    assert [json.loads(line[3:])["event"] for line in lines] == ["started", "failed", *["sink cannot deliver"] * 2]
    traceback = log_of(tmp_path / "log", monkeypatch, journal=True, format_="console")[1:-2]
    assert len(traceback) > 3
    assert {line[:3] for line in traceback} == {"<3>"}


def test_a_stream_that_is_not_the_journal_has_no_priorities_though_the_variable_is_inherited(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = log_of(tmp_path / "log", monkeypatch, journal=False)
    assert [json.loads(line)["level"] for line in lines] == ["info", "error", "warning", "warning"]
    assert json.loads(lines[-1])["repeated"] == "2 times in 1 s"


@pytest.mark.parametrize("value", ["", "1", "1:", "x:y", "1:2:3", "-1:-1", "9" * 5000 + ":1"])
def test_an_odd_variable_is_not_the_journal(value: str) -> None:
    assert not is_journal(0, {"JOURNAL_STREAM": value})


def test_a_stream_without_a_descriptor_takes_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    configure(LogConfig(format="json"))
    structlog.get_logger("edgerouter.test").error("failed")
    assert json.loads(stream.getvalue())["event"] == "failed"
