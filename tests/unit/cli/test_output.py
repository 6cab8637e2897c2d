"""Text of a device or a service is shown as it is, and does nothing to the output.

Covers also: edgerouter.cli.dead_letters, edgerouter.logs.fields, edgerouter.visible.
"""

from __future__ import annotations

import io
import json
import logging
import sys
from pathlib import Path
from typing import Any

import pytest
import structlog
from rich.console import Console
from rich.table import Table

from edgerouter.cli import dead_letters, output, status
from edgerouter.config.model import LogConfig, SpoolConfig
from edgerouter.logs.setup import configure

HOSTILE = "[bold red]x[/] :smile: \x1b]0;owned\x07\x1b[2J\x9b31m\r\u202egnp\u2066\u200b\ufeff\ud800\n[/nothing]"
ORDERS = "\x1b\x07\x9b\r\u202e\u2066\u200b\ufeff\ud800"


def assert_harmless(shown: str) -> None:
    assert [order for order in ORDERS if order in shown] == []
    assert "[bold red]x[/] :smile: \\x1b]0;owned\\x07" in shown.replace("\n", "")
    assert "\\u202e" in shown.replace("\n", "")


def wide() -> Console:
    return Console(file=io.StringIO(), width=4000, markup=False, emoji=False, highlight=False, force_terminal=False)


def answer(**changes: Any) -> dict[str, Any]:
    """A router's status with a hostile text in every place that others fill."""
    spool = {"state": "full", "messages": 1, "bytes": 1, "max_bytes": 2, "dead_letters": 0, "reason": HOSTILE}
    source = {"type": "mqtt", "connected": False, "paused": False, "messages": 0, "last_message_at": None, "reason": HOSTILE}
    numbers = ("matched", "delivered", "pending", "dead_lettered", "dropped", "uncounted", "latency_seconds")
    sink: dict[str, Any] = {"type": "http", "state": "retrying", "last_error": HOSTILE, "ledger_error": HOSTILE}
    sink |= {"last_delivery_at": None, "oldest_pending_seconds": None} | dict.fromkeys(numbers, 0)
    whole = {"version": "1", "host": HOSTILE, "uptime_seconds": 1, "configuration": HOSTILE, "configuration_error": HOSTILE}
    whole |= {
        "spool": spool,
        "sources": {"in": source},
        "sinks": {"out": sink},
        "detached": {},
        "certificates": [],
        "event_loop": {"pauses": 0},
    }
    return whole | {"drops": [{"sink": "out", "topic": HOSTILE, "reason": HOSTILE, "messages": 1}]} | changes


@pytest.mark.parametrize("running", [True, False])
def test_every_text_of_a_status_is_harmless(
    running: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "4000")
    monkeypatch.setattr(status, "stopped_status", lambda _: answer(running=running))
    status.show(SpoolConfig(path=tmp_path), ready=False, as_json=False)
    assert_harmless(capsys.readouterr().out)


def test_a_list_of_dead_letters_is_harmless_and_as_json_exact(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    letter = {"number": 1, "sink": "out", "last_attempt": "now", "message": {"topic": HOSTILE}, "attempts": 1}
    letter |= {"error": "Rejected", "reason": HOSTILE}
    monkeypatch.setattr(dead_letters, "letters", lambda *_arguments, **_options: [letter])
    monkeypatch.setattr(dead_letters, "count_letters", lambda *_arguments, **_options: 1)
    console = wide()
    monkeypatch.setattr(dead_letters, "console", lambda: console)
    dead_letters.print_letters(SpoolConfig(), limit=1, as_json=False)
    assert_harmless(console.file.getvalue())  # type: ignore[attr-defined]
    capsys.readouterr()
    dead_letters.print_letters(SpoolConfig(), limit=1, as_json=True)
    printed = capsys.readouterr().out
    assert printed.isascii()
    assert json.loads(printed)["dead_letters"] == [letter]


def test_a_line_for_people_is_harmless(capsys: pytest.CaptureFixture[str]) -> None:
    output.say(HOSTILE)
    assert_harmless(capsys.readouterr().out)


def test_a_console_of_ours_takes_no_markup(capsys: pytest.CaptureFixture[str]) -> None:
    output.console().print("[bold]x[/] :smile: [/nothing]")
    assert capsys.readouterr().out == "[bold]x[/] :smile: [/nothing]\n"


@pytest.mark.parametrize("format_", ["console", "json"])
def test_a_log_line_is_harmless(format_: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    root = logging.getLogger()
    before, level, configured = root.handlers[:], root.level, structlog.get_config()
    stream = io.StringIO()
    monkeypatch.setattr(sys, "stderr", stream)
    try:
        configure(LogConfig(format=format_))
        structlog.get_logger("edgerouter.test").warning("sink cannot deliver", reason=HOSTILE, topics=[HOSTILE])
        logging.getLogger("aiohttp").warning("odd: %s", HOSTILE)
        structlog.get_logger("edgerouter.test").error("failed", exc_info=ValueError(HOSTILE))
    finally:
        root.handlers[:] = before
        root.setLevel(level)
        structlog.configure(**configured)
    lines = stream.getvalue()
    assert [order for order in ORDERS if order in lines] == []
    assert lines.count("owned") == 4
    if format_ == "json":
        assert json.loads(lines.splitlines()[0])["reason"] == HOSTILE


def test_one_is_not_plural() -> None:
    assert [output.counted(number, "dead letter") for number in (0, 1, 2)] == ["0 dead letters", "1 dead letter", "2 dead letters"]


def test_a_table_is_not_cut_in_a_pipe(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    """Rich takes a pipe for 80 columns wide, and `grep` found only the beginning of a topic."""
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("topic", "reason", box=None)
    table.add_row("plant/" * 20 + "end", "because " * 10)
    output.console().print(table)
    assert "plant/" * 20 + "end" in capsys.readouterr().out
