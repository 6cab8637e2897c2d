"""The command line answers in lines, with the right exit code and no traceback.

Covers also: edgerouter.cli.check, edgerouter.cli.plugins, edgerouter.config.checks.folders.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import edgerouter
from edgerouter import Unavailable, plugins
from edgerouter.cli import main as command_line
from edgerouter.cli.check import check
from edgerouter.config.checks.folders import spool_fault
from edgerouter.config.model import SpoolConfig
from edgerouter.errors import ConfigurationError, SpoolUnusable
from support.distributions import installed_plugins

TEXT = "sources: {s: {type: feed}}\nsinks: {k: {type: queue, queue: q}}\nspool: {path: spool}\n"


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    site, work = tmp_path / "site", tmp_path / "work"
    site.mkdir()
    work.mkdir()
    monkeypatch.chdir(work)
    for name in [name for name in os.environ if name.upper().startswith("EDGEROUTER")]:
        monkeypatch.delenv(name)
    with installed_plugins(site):
        yield


def run(*arguments: str, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(sys, "argv", ["edgerouter", *arguments])
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    return int(ended.value.code or 0)


def test_version_and_help_load_nothing_heavy() -> None:
    code = (
        "import sys; sys.argv = ['edgerouter', sys.argv[1]]\nfrom edgerouter.cli.main import main\n"
        "try: main()\n"
        "finally: print(sorted({'pydantic', 'aiohttp', 'stevedore', 'yaml', 'rich'} & set(sys.modules)), file=sys.stderr)"
    )
    for option, expected in (("--version", f"edgerouter {edgerouter.__version__}"), ("--help", "edgerouter check --connect")):
        done = subprocess.run([sys.executable, "-c", code, option], capture_output=True, text=True, check=True, timeout=60)
        assert expected in done.stdout
        assert done.stderr == "[]\n"


def test_a_good_configuration_is_summed_up(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("edgerouter.yaml").write_text(TEXT)
    assert run("check", monkeypatch=monkeypatch) == 0
    out, err = capsys.readouterr()
    assert out.splitlines() == [
        "edgerouter.yaml: the configuration is valid",
        "  sources: s (feed)",
        "  sinks: k (queue)",
        "  spool: sqlite in spool",
        "where values come from (all others are defaults, see `edgerouter config --effective`):",
        "  sources.s.type: feed  (edgerouter.yaml:1:21)",
        "  sinks.k.type: queue  (edgerouter.yaml:2:19)",
        "  sinks.k.queue: q  (edgerouter.yaml:2:33)",
        "  spool.path: spool  (edgerouter.yaml:3:15)",
        f"  host: {socket.gethostname()}  (this machine's name)",
    ]
    assert err == ""
    assert not Path("spool").exists()


@pytest.mark.parametrize("command", ["check", "run"])
def test_a_wrong_configuration_is_its_lines_on_standard_error_and_exit_code_2(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("other.yaml").write_text(TEXT + "lgo: {}\nhosst: x\n")
    assert run(command, "-c", "other.yaml", monkeypatch=monkeypatch) == 2
    assert capsys.readouterr() == (
        "",
        "other.yaml:4:1: lgo: unknown key; did you mean 'log'?\nother.yaml:5:1: hosst: unknown key; did you mean 'host'?\n",
    )


@pytest.mark.parametrize("command", ["check", "run"])
def test_no_configuration_at_all_is_exit_code_2(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("edgerouter.config.file_search.SYSTEM", Path("nowhere.yaml"))
    assert run(command, monkeypatch=monkeypatch) == 2
    assert "at least one sink is needed" in capsys.readouterr().err


def test_the_file_may_be_named_by_a_variable(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    Path("named.yaml").write_text(TEXT)
    monkeypatch.setenv("EDGEROUTER_CONFIG", "named.yaml")
    assert run("check", monkeypatch=monkeypatch) == 0
    assert capsys.readouterr().out.startswith("named.yaml: ")


@pytest.mark.parametrize(
    ("error", "lines", "code"),
    [
        (ConfigurationError("one", "two"), ["one", "two"], 2),
        (SpoolUnusable("in use"), ["in use"], 2),
        (ExceptionGroup("", [SpoolUnusable("a"), ExceptionGroup("", [ConfigurationError("b")])]), ["a", "b"], 2),
        (Unavailable("no route"), ["no route"], 1),
        (ExceptionGroup("", [SpoolUnusable("a"), ValueError("b")]), None, None),
    ],
)
def test_what_an_operator_can_put_right_is_reported_without_a_traceback_and_a_bug_with_one(
    error: Exception, lines: list[str] | None, code: int | None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing() -> None:
        raise error

    monkeypatch.setattr(command_line, "app", failing)
    monkeypatch.setattr(sys, "argv", ["edgerouter"])
    if lines is None:
        with pytest.raises(type(error)):
            command_line.main()
        return
    with pytest.raises(SystemExit) as ended:
        command_line.main()
    assert (ended.value.code, capsys.readouterr().err.splitlines()) == (code, lines)


def test_plugins_are_listed_for_people_and_for_programs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("plugins", monkeypatch=monkeypatch) == 0
    table = capsys.readouterr().out
    assert run("plugins", "--json", monkeypatch=monkeypatch) == 0
    rows = json.loads(capsys.readouterr().out)
    queue = next(row for row in rows if row["name"] == "queue")
    assert queue == {
        "kind": "sink",
        "name": "queue",
        "distribution": "test-plugins",
        "version": "1.0",
        "target": "test_plugins_module:QueueSink",
    }
    assert len(table.splitlines()) == len(rows) + 1


class TestConnect:
    """`check --connect`."""

    def outcome(self, text: str, capsys: pytest.CaptureFixture[str], timeout: float = 15) -> tuple[int, str, str]:
        Path("edgerouter.yaml").write_text(text)
        code = check(plugins.load(Path("edgerouter.yaml"), {}), connect=True, timeout=timeout)
        return (code, *capsys.readouterr())

    def test_each_source_and_sink_that_opens_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, out, err = self.outcome(TEXT, capsys)
        assert (code, err) == (0, "")
        assert "source s (feed): ok" in out
        assert "sink k (queue): ok" in out

    @pytest.mark.parametrize(
        ("old", "new", "line"),
        [
            ("queue: q", "queue: down", "sink k (queue): failed: no answer"),
            ("queue: q", "queue: slow", "sink k (queue): failed: not open after 0.5 s"),
            ("queue: q", 'queue: "${vault:nope}"', "sink k (queue): failed: no secret 'nope'"),
            ("type: feed", "type: feed, url: feed://gone", "source s (feed): failed: refused"),
            ("type: feed", "type: feed, url: feed://down", "source s (feed): failed: not open after 0.5 s: connection refused"),
        ],
    )
    def test_what_fails_is_one_line_with_its_reason_and_the_others_are_still_told(
        self, capsys: pytest.CaptureFixture[str], old: str, new: str, line: str
    ) -> None:
        code, out, err = self.outcome(TEXT.replace(old, new), capsys, timeout=0.5)
        assert code == 2
        assert err == line + "\n"
        assert out.count(": ok, ") == 1

    def test_a_plugins_own_fault_does_not_show_a_secret(self, capsys: pytest.CaptureFixture[str]) -> None:
        code, _, err = self.outcome(TEXT.replace("queue: q", "queue: leaky, password: hunter2"), capsys)
        assert code == 2
        assert "RuntimeError" in err
        assert "hunter2" not in err


class TestSpoolFolder:
    """A spool's folder is tried, and removed again."""

    def test_a_folder_that_can_be_made_is_not_made(self) -> None:
        assert spool_fault(SpoolConfig(path=Path("a/b/c"))) == []
        assert list(Path().iterdir()) == []

    def test_a_memory_spool_needs_no_folder(self) -> None:
        assert spool_fault(SpoolConfig(type="memory", path=Path("/proc/nowhere"))) == []

    def test_a_file_in_its_place_is_reported(self) -> None:
        Path("file").touch()
        assert spool_fault(SpoolConfig(path=Path("file/spool"))) == [f"spool.path: {Path.cwd() / 'file'} is not a folder"]

    def test_a_folder_that_cannot_be_made_is_reported_with_its_place_and_exit_code_2(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        Path("edgerouter.yaml").write_text(TEXT.replace("path: spool", "path: /proc/nowhere/spool"))
        assert run("check", monkeypatch=monkeypatch) == 2
        assert capsys.readouterr().err.startswith("edgerouter.yaml:3:15: spool.path: /proc/nowhere/spool cannot be made: /proc: ")
