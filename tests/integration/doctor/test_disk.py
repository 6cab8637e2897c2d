"""The doctor names the time that a slow disk needs for an fsync, and its output is a table or JSON.

Covers: edgerouter.doctor.machine.storage, edgerouter.cli.doctor.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgerouter.cli.doctor import wish
from edgerouter.errors import ConfigurationError
from support.command import run

DELAY_MS = 60


def configuration(folder: Path) -> Path:
    """Write a configuration whose spool is below a folder."""
    file = folder / "edgerouter.yaml"
    source = {"type": "mqtt", "url": "mqtt://127.0.0.1:1", "topics": ["#"]}
    file.write_text(
        yaml.safe_dump(
            {"sources": {"local": source}, "sinks": {"out": {"type": "stdout"}}, "spool": {"path": str(folder / "spool")}}
        )
    )
    return file


def test_a_throttled_disk_is_named_with_its_fsync_time(tmp_path: Path) -> None:
    """The kernel delays each fdatasync of the command."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    inject = f"inject=fdatasync:delay_exit={DELAY_MS * 1000}"
    command = ["strace", "-f", "--seccomp-bpf", "-e", "trace=fdatasync", "-e", inject, "-o", "/dev/null", sys.executable, "-m"]
    command += ["edgerouter.cli.main", "doctor", str(configuration(tmp_path)), "--only", "disk", "--json"]
    ended = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    if "ptrace" in ended.stderr:
        pytest.skip(f"this machine does not let strace look: {ended.stderr}")
    assert ended.returncode == 0, ended.stderr
    [found] = [each for each in json.loads(ended.stdout) if each["name"] == "spool.path: fsync"]
    assert found["verdict"] == "warn"
    assert DELAY_MS <= float(found["evidence"].split(" ms")[0]) < 10 * DELAY_MS
    assert "commit_interval" in found["change"]


def test_the_command_prints_lines_in_a_pipe_and_fails_where_a_broker_is_gone(tmp_path: Path) -> None:
    ended = run("doctor", "-c", configuration(tmp_path), "--only", "disk,broker")

    assert ended.returncode == 1
    assert "fail    broker  local: connection: " in ended.stdout
    assert ", 1 fail, 0 unknown" in ended.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"only": "disk,disc"}, "--only: no subject 'disc'"),
        ({"broker": "ftp://user:topsecret@host"}, "--broker: unknown scheme"),
        ({"topic": "a/#"}, "--topic: "),
    ],
)
def test_a_wrong_option_is_a_mistake_of_the_user(options: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as raised:
        wish(None, **options)
    assert "topsecret" not in str(raised.value)


def test_a_wrong_configuration_is_exit_code_2(tmp_path: Path) -> None:
    ended = run("doctor", tmp_path / "none.yaml")

    assert ended.returncode == 2
    assert "none.yaml" in ended.stderr
