"""The settings that decide over mosquitto's queues are read from its file, or assumed by its version and called unknown.

Covers also: edgerouter.doctor.broker.local.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter.doctor.broker.local import find, is_local
from edgerouter.doctor.broker.mosquitto import findings, read

VERSION = "mosquitto version 2.0.11"


def process(proc: Path, number: int, *arguments: str, program: str = "mosquitto") -> None:
    """Add a process to the kernel's list."""
    folder = proc / str(number)
    folder.mkdir()
    (folder / "comm").write_text(f"{program}\n")
    (folder / "cmdline").write_text("\0".join([program, *arguments, ""]))
    (folder / "root").symlink_to("/")
    (folder / "cwd").symlink_to(proc)


def test_a_file_without_settings_means_the_defaults(tmp_path: Path) -> None:
    file = tmp_path / "mosquitto.conf"
    file.write_text("# persistence true\nlistener 1883\n")

    persistence, saving = findings(VERSION, read(file))

    assert (persistence.verdict, saving.verdict) == ("warn", "warn")
    assert persistence.evidence.startswith("persistence off")
    assert saving.evidence.startswith("saving every 30 minutes")
    assert "persistence true" in persistence.change


def test_a_file_with_its_included_folder_is_read(tmp_path: Path) -> None:
    more = tmp_path / "conf.d"
    more.mkdir()
    (more / "local.conf").write_text("persistence true\nautosave_interval 60\n")
    file = tmp_path / "mosquitto.conf"
    file.write_text(f"include_dir {more}\n")

    assert [each.verdict for each in findings(VERSION, read(file))] == ["ok", "ok"]


@pytest.mark.parametrize(
    ("line", "evidence"),
    [
        ("autosave_interval 0", "only when the broker ends"),
        ("autosave_interval many", "every 30 minutes"),
        ("autosave_on_changes true", "after 1800 changes"),
    ],
)
def test_other_ways_of_saving_are_named(tmp_path: Path, line: str, evidence: str) -> None:
    file = tmp_path / "mosquitto.conf"
    file.write_text(f"persistence true\n{line}\n")

    assert evidence in findings(VERSION, read(file))[1].evidence


def test_without_a_file_the_defaults_are_named_and_called_unknown() -> None:
    persistence, saving = findings(VERSION, None)

    assert (persistence.verdict, saving.verdict) == ("unknown", "unknown")
    assert "not measurable without --restart-test" in persistence.evidence
    assert [each.verdict for each in findings("another broker", None)] == ["unknown"]


def test_a_local_broker_is_found_by_its_port(tmp_path: Path) -> None:
    file = tmp_path / "broker.conf"
    file.write_text("listener 2000 127.0.0.1\npersistence true\n")
    proc = tmp_path / "proc"
    proc.mkdir()
    process(proc, 10, "-p", "1999")
    process(proc, 11, "-c", str(file))
    process(proc, 12, "-p", "2001", program="other")
    process(proc, 13, "-c", "gone.conf")

    started, _ = find(1999, proc)
    configured, _ = find(2000, proc)
    none, problem = find(2001, proc)

    assert started is not None
    assert not started.persistence
    assert "without a configuration file" in started.source
    assert configured is not None
    assert configured.persistence
    assert none is None
    assert problem == "gone.conf: No such file or directory"


def test_only_the_loopback_is_local() -> None:
    assert is_local("localhost")
    assert is_local("127.0.0.1")
    assert is_local("::1")
    assert not is_local("broker.example")
    assert not is_local("192.168.1.2")
