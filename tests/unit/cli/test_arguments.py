"""A wrong command line ends with a line, never with a traceback.

Covers also: edgerouter.cli.main, edgerouter.units.
"""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from edgerouter.cli import main as command_line
from edgerouter.cli.arguments import moment
from edgerouter.cli.reference import commands
from edgerouter.config.model import SpoolConfig
from edgerouter.errors import ConfigurationError
from edgerouter.spool import open_spool
from edgerouter.units import parse_byte_size, parse_duration

QUICK = settings(deadline=None, suppress_health_check=list(HealthCheck), phases=(Phase.explicit, Phase.generate), database=None)
PARTS = st.sampled_from(
    ["", " ", "-", ".", "..", "0", "1", "7", "99999999999", "9" * 400, "h", "d", "ms", "GiB", "T", ":", "Z", "inf"]
)
TRICKY = st.one_of(
    st.sampled_from(["1..5h", "99999999999d", "1600-01-01", "2500-01-01", "9999-12-31T23:59", "0001-01-01", "1969-12-31", "nan"]),
    st.sampled_from(
        ["-1", "1e999", "2026-13-01", "\udcff", "\0", "a" * 5000, "/" * 300, "a/#/b", "+", "#", "$share/g/a", "\x1b[31m"]
    ),
    st.lists(PARTS, max_size=5).map("".join),
    st.text(max_size=10),
)


@pytest.fixture(scope="module")
def spool(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cli") / "spool"

    async def make() -> None:
        async with open_spool(SpoolConfig(path=folder)):
            pass

    asyncio.run(make())
    return folder


def run(*arguments: str) -> int:
    sys.argv = ["edgerouter", *arguments]
    try:
        command_line.main()
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


@pytest.fixture(scope="module")
def made_once() -> Callable[[], object]:
    """The commands, made once: each of hundreds of calls would take a tenth of a second to make them again."""
    return typer.main.get_command(command_line.app)


@pytest.fixture(autouse=True)
def _argv(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, made_once: Callable[[], object]) -> None:
    monkeypatch.setattr(command_line, "app", made_once)
    monkeypatch.setattr(sys, "argv", sys.argv)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize(
    "text", ["1..5h", "99999999999d", "1600-01-01", "2500-01-01", "0001-01-01", "9999-12-31T23:59", "", "5", "h"]
)
def test_a_time_that_cannot_be_is_one_line(text: str) -> None:
    with pytest.raises(ConfigurationError, match="not a time from 1970 to 2262"):
        moment(text)


def test_times_are_read_with_and_without_a_zone_and_back_from_now() -> None:
    assert moment("2026-11-20T08:00:00Z") == 1_795_161_600_000_000_000
    assert moment("2026-11-20") is not None
    assert abs(time.time_ns() - 5_400_000_000_000 - (moment("1h30m") or 0)) < 10**10


@given(TRICKY)
@QUICK
def test_a_time_is_a_64_bit_number_or_an_error(text: str) -> None:
    try:
        found = moment(text)
    except ConfigurationError:
        return
    assert found is not None
    assert 0 <= found < 2**63


@given(st.one_of(TRICKY, st.floats(), st.integers(), st.booleans(), st.none()))
@QUICK
def test_sizes_and_durations_are_64_bit_numbers_or_an_error(value: object) -> None:
    for parse, most in ((parse_byte_size, 2**63), (parse_duration, 2**63 / 1e9)):
        try:
            found = parse(value)
        except ValueError:
            continue
        assert 0 <= found < most


COMMANDS = (
    ("dead-letters", "list", "--from", "{}"),
    ("dead-letters", "list", "--to", "{}"),
    ("dead-letters", "list", "--reason", "{}"),
    ("dead-letters", "list", "--topic", "{}"),
    ("dead-letters", "list", "--sink", "{}"),
    ("dead-letters", "list", "--limit", "{}"),
    ("dead-letters", "show", "{}"),
    ("dead-letters", "replay", "{}"),
    ("dead-letters", "purge", "--yes", "{}"),
    ("replay", "--sink", "x", "--from", "{}"),
    ("replay", "--sink", "x", "--topic", "{}"),
    ("replay", "--sink", "{}"),
    ("forget", "{}"),
    ("top", "--interval", "{}"),
    ("top", "--seconds", "{}"),
)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
@given(text=TRICKY)
@settings(QUICK, max_examples=12)
def test_no_argument_of_an_operators_command_ends_in_a_traceback(command: tuple[str, ...], text: str, spool: Path) -> None:
    assert run(*(part.format(text) for part in command), "--spool", str(spool)) in {0, 1, 2}


@given(text=TRICKY)
@settings(QUICK, max_examples=12)
def test_no_path_ends_in_a_traceback(text: str) -> None:
    assert run("status", "--spool", text) in {1, 2}
    assert run("status", "-c", text) in {1, 2}
    assert run("check", "-c", text) == 2
    if "\0" not in text:
        os.environ["EDGEROUTER_SECRETS_DIR"] = text
        try:
            assert run("check") == 2
        finally:
            del os.environ["EDGEROUTER_SECRETS_DIR"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("dead-letters", "list", "--reason", "caf\udce9"), "not UTF-8: caf\\xe9"),
        (("status", "--spool", "/tmp/\udcff"), "not UTF-8: /tmp/\\xff"),
        (("dead-letters", "list", "--from", "1..5h"), "not a time"),
        (("dead-letters", "list", "--topic", "a/#/b"), "'#' must be the last level"),
        (("replay", "--sink", "x", "--topic", "a/#/b"), "'#' must be the last level"),
        (("tap", "a/#/b"), "'#' must be the last level"),
        (("tap", "--url", "ftp://x"), "--url: write http://HOST:PORT"),
        (("tap", "--url", "http://x", "--token-file", "/nonexistent"), "--token-file: /nonexistent cannot be read"),
        (("replay", "--sink", "x", "--from", "1h", "--to", "2h"), "--to 2h is not after --from 1h"),
        (("dead-letters", "purge", "--from", "2026-11-20", "--to", "2026-11-20"), "--to 2026-11-20 is not after --from 2026-11-20"),
    ],
)
def test_what_is_wrong_is_said_with_exit_code_2(
    arguments: tuple[str, ...], told: str, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    where = () if "--spool" in arguments else ("--spool", str(spool))
    assert run(*arguments, *where) == 2
    assert told in capsys.readouterr().err


@pytest.mark.parametrize("command", ["replay", "purge"])
def test_the_number_of_no_dead_letter_is_named_and_nothing_is_asked(
    command: str, spool: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("dead-letters", command, "7", "5", "--spool", str(spool)) == 1
    assert capsys.readouterr() == ("", "there is no dead letter 7, 5; nothing is done\n")


@pytest.mark.parametrize("command", [("status",), ("verify",), ("dead-letters", "list"), ("replay", "--sink", "x")])
def test_a_memory_spool_without_its_router_is_nothing_to_correct(command: tuple[str, ...], tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text("spool: {type: memory, path: spool}\n")
    assert run(*command, "-c", str(file)) == 1


def test_where_there_is_nothing_to_purge_nothing_is_asked(spool: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("dead-letters", "purge", "--spool", str(spool)) == 0
    assert "0 dead letters thrown away" in "".join(capsys.readouterr())


def test_an_unreadable_path_is_left_to_the_command_which_knows_what_to_do(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """The parser of options would say only that the path is not readable, and not who may read it."""
    monkeypatch.setattr(os, "access", lambda *_, **__: False)
    refused = []
    for name, command in commands():
        for option in [each.opts[0] for each in command.params if each.metavar in {"FILE", "FOLDER", "FILE.tar.gz", "CONFIG"}]:
            arguments = [option, str(tmp_path)] if option.startswith("-") else [str(tmp_path)]
            try:
                command.make_context(name, arguments)
            except typer.BadParameter as error:
                refused.append(f"{name} {option}: {error}")
    assert [each for each in refused if "Missing parameter" not in each] == []


def test_a_file_to_begin_with_subscribes_to_topic_filters_only(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert run("init", "--sink", "stdout", "--topic", "a", "--topic", "a/#/b", "-o", str(tmp_path / "edgerouter.yaml")) == 2
    assert "'#' must be the last level" in capsys.readouterr().err
    assert not (tmp_path / "edgerouter.yaml").exists()


def test_a_full_disk_behind_standard_output_is_one_line() -> None:
    with open("/dev/full", "wb") as full:  # noqa: PTH123  (a device)
        command = [sys.executable, "-m", "edgerouter.cli.main", "plugins"]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (1, "standard output cannot be written: No space left on device\n")


def test_a_spool_path_that_is_not_utf_8_is_refused_in_a_variable_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEROUTER__SPOOL__PATH", "/tmp/\udcff")
    assert run("status") == 2
    assert "EDGEROUTER__SPOOL__PATH: spool.path: is not UTF-8" in capsys.readouterr().err


def test_a_secrets_folder_whose_name_is_too_long_is_reported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("EDGEROUTER_SECRETS_DIR", "/" + "a" * 300)
    assert run("check") == 2
    # from Python 3.14 on, such a path is only not there
    assert re.search(r"EDGEROUTER_SECRETS_DIR: .*(File name too long|is not there)", capsys.readouterr().err)


def test_the_help_names_what_an_option_takes_and_no_type_of_python(capsys: pytest.CaptureFixture[str]) -> None:
    letters = (("dead-letters", each) for each in ("list", "show", "export", "replay", "purge"))
    for command in [("run",), ("demo",), ("check",), ("config",), ("status",), ("top",), ("replay",), ("forget",), *letters]:
        assert run(*command, "--help") == 0
        said = capsys.readouterr().out
        assert "9223372036854775807" not in said
        assert not [word for word in ("  --sink <", "range>", "--no-ready") if word in said]
