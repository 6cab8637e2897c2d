"""The end of the log is found where the router writes it, and a reason where it is not.

Covers also: edgerouter.bundle.facts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter.bundle.facts import machine, packages
from edgerouter.bundle.log_tail import collect
from edgerouter.doctor.machine.process import Measured


def test_the_end_of_a_long_file_begins_with_a_whole_line(tmp_path: Path) -> None:
    log = tmp_path / "router.log"
    log.write_text("".join(f"line {number:07}\n" for number in range(200_000)))

    part = collect(log, None)

    assert part.text.splitlines()[0].startswith("line 0")
    assert len(part.text.splitlines()[0]) == 12
    assert part.text.endswith("line 0199999\n")
    assert len(part.text) <= 1024**2


def test_the_file_behind_standard_error_is_the_log(tmp_path: Path) -> None:
    (tmp_path / "fd").mkdir()
    log = tmp_path / "router.log"
    log.write_text("started\n")
    (tmp_path / "fd" / "2").symlink_to(log)

    assert collect(None, Measured("router", tmp_path, is_router=True)).text == "started\n"


def test_without_a_file_and_a_journal_the_reason_names_the_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))

    assert "--log FILE" in collect(None, None).missing
    assert collect(tmp_path / "none", None).missing.endswith("No such file or directory")


def test_the_journal_of_the_routers_unit_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "journalctl"
    program.write_text('#!/bin/sh\necho "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    (tmp_path / "cgroup").write_text("0::/system.slice/edge-two.service\n")

    assert "--unit=edge-two.service" in collect(None, Measured("router", tmp_path, is_router=True)).text
    assert "--unit=edgerouter.service" in collect(None, None).text


def test_facts_hold_the_names_of_variables_and_never_their_values(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EDGEROUTER__SINKS__X__TOKEN", "value-of-a-secret")

    found = machine(Measured("this process", tmp_path))

    assert "EDGEROUTER__SINKS__X__TOKEN" in found["variables_set"]
    assert "value-of-a-secret" not in repr(found)
    assert "\nedgerouter==" in f"\n{packages()}"
