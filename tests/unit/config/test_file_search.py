"""The configuration file: which one counts, and how much of it is read."""

from __future__ import annotations

import contextlib
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgerouter.config import file_search
from edgerouter.config.file_search import find_file
from edgerouter.config.yaml_file import read as read_tree
from edgerouter.errors import ConfigurationError


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(file_search, "SYSTEM", tmp_path / "etc.yaml")
    (tmp_path / "etc.yaml").write_text("spool: {}")


def test_the_working_folders_file_counts_for_its_owner(tmp_path: Path) -> None:
    Path("edgerouter.yaml").write_text("spool: {}")
    assert find_file(None, {}) == Path("edgerouter.yaml")
    assert find_file(Path("x.yaml"), {}) == Path("x.yaml")
    assert find_file(None, {"EDGEROUTER_CONFIG": "y.yaml"}) == Path("y.yaml")
    Path("edgerouter.yaml").unlink()
    assert find_file(None, {}) == tmp_path / "etc.yaml"


def test_an_operators_command_does_not_read_the_working_folders_file_and_says_so(tmp_path: Path) -> None:
    Path("edgerouter.yaml").write_text("spool: {path: elsewhere}")
    said: list[str] = []
    assert find_file(None, {}, here=False, note=said.append) == tmp_path / "etc.yaml"
    (line,) = said
    assert line.startswith("./edgerouter.yaml is not used: only `run`, `check` and `config` look for it there; using ")
    assert line.endswith("etc.yaml; `-c edgerouter.yaml` uses it")


def test_root_does_not_read_another_users_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("edgerouter.yaml").write_text("spool: {path: elsewhere}")
    said: list[str] = []
    owner = os.geteuid()
    if owner == 0:
        os.chown("edgerouter.yaml", 12345, 12345)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: owner + 1)
    assert find_file(None, {}, note=said.append) == tmp_path / "etc.yaml"
    assert "belongs to another user" in said[0]


def test_a_file_that_all_may_write_and_a_link_to_one_do_not_count(tmp_path: Path) -> None:
    Path("other.yaml").write_text("spool: {}")
    Path("other.yaml").chmod(0o666)
    Path("edgerouter.yaml").symlink_to("other.yaml")
    said: list[str] = []
    assert find_file(None, {}, note=said.append) == tmp_path / "etc.yaml"
    assert "all users may write it" in said[0]


def test_status_in_a_strange_folder_touches_nothing_in_it(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("precious")
    (tmp_path / "edgerouter.yaml").write_text(f"spool: {{path: {tmp_path / 'planted'}}}")
    (tmp_path / "planted").mkdir()
    for name in ("spool.db", "spool.lock", "control.sock"):
        (tmp_path / "planted" / name).symlink_to(victim)
    ended = subprocess.run(
        [sys.executable, "-m", "edgerouter.cli.main", "status"], capture_output=True, text=True, timeout=60, check=False
    )
    assert victim.read_text() == "precious"
    assert "./edgerouter.yaml is not used" in ended.stderr
    assert "planted" not in ended.stderr + ended.stdout


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null"])
def test_a_device_is_not_a_configuration_file(device: str) -> None:
    with pytest.raises(ConfigurationError, match="not a file"):
        read_tree(Path(device))


def test_a_pipe_is_read(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["/bin/sh", "-c", f"echo 'spool: {{path: x}}' > {pipe}"]):
        node, _ = read_tree(pipe)
    assert node.plain() == {"spool": {"path": "x"}}


@pytest.mark.parametrize(
    "text",
    [
        "".join(f"k{number}: {number}\n" for number in range(300_000)),
        "a: [" + "x, " * 900_000 + "]",
        "x" * 5_000_000,
        "a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{chr(98 + n)}: &{chr(98 + n)} [{', '.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)),
    ],
    ids=["keys", "items", "bytes", "aliases"],
)
def test_a_file_of_any_size_is_refused_in_seconds_and_bounded_memory(tmp_path: Path, text: str) -> None:
    file = tmp_path / "big.yaml"
    file.write_text(text)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.process_time()
    with contextlib.suppress(ConfigurationError):
        _, faults = read_tree(file)
        if not any("more than" in reason for _, reason in faults):
            pytest.fail("the file is read")
    assert time.process_time() - began < 60
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 400 * 1024
