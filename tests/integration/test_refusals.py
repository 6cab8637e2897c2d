"""A configuration error is reported in one clear line and ends the router with exit code 2.

Covers: edgerouter.cli.descriptors.
"""

import re
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import support.command


def good(tmp_path: Path) -> dict[str, Any]:
    return {
        "sources": {"local": {"type": "mqtt", "url": "mqtt://127.0.0.1:1", "topics": ["a/#"]}},
        "spool": {"path": str(tmp_path / "spool")},
        "sinks": {"files": {"type": "file", "path": str(tmp_path / "files")}},
    }


def run(file: Path, *, command: str = "run") -> tuple[int, list[str]]:
    """Run the router, which must exit by itself; return exit code and output."""
    ended = support.command.run(command, "-c", file, timeout=30)
    return ended.returncode, ended.stderr.strip().splitlines()


def put(config: dict[str, Any], path: str, value: object) -> None:
    """Set a value deep in the configuration."""
    *folders, last = path.split(".")
    for folder in folders:
        config = config[folder]
    config[last] = value


WRONG = {
    "a misspelt key": ("sinks.files.batch", {"max_mesages": 5}, "max_messages"),
    "a misspelt section": ("spol", {}, "spool"),
    "a misspelt sink type": ("sinks.files.type", "fil", "file"),
    "a type of no installed plugin": ("sinks.files.type", "aws-nothing", "aws-nothing"),
    "a URL with an unknown scheme": ("sources.local.url", "http://broker", "http"),
    "a port out of range": ("sources.local.url", "mqtt://broker:99999", "99999"),
    "a filter that is none": ("sources.local.topics", ["a/#/b"], "#"),
    "a secret that is not there": ("sources.local.client_id", "${env:EDGEROUTER_TEST_NOT_THERE}", "EDGEROUTER_TEST_NOT_THERE"),
    "a secret file that is not there": ("sources.local.client_id", "${file:/nowhere/secret}", "/nowhere/secret"),
    "a value that is not a size": ("spool.max_bytes", "2 apples", "2 apples"),
    "a value that is not a duration": ("sinks.files.timeout", "soon", "soon"),
    "a folder that cannot be made": ("spool.path", "/dev/null/spool", "/dev/null/spool"),
    "a file where a folder is wanted": ("sinks.files.path", "/dev/null", "not a folder"),
    "a sink's folder that cannot be made": ("sinks.files.path", "/dev/null/out", "/dev/null is not a folder"),
    "a sink's folder that cannot be written": ("sinks.files.path", "/proc/out", "/proc/out cannot be made: /proc"),
    "an address that is none": ("admin", {"listen": "here"}, "admin.listen"),
}


@pytest.mark.parametrize("name", WRONG)
def test_each_mistake_gives_one_clear_line_and_exit_code_2(tmp_path: Path, name: str) -> None:
    path, value, said = WRONG[name]
    config = good(tmp_path)
    put(config, path, value)
    file = tmp_path / "edgerouter.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    code, lines = run(file)
    assert code == 2, lines
    assert len(lines) == 1, lines
    assert said in lines[0]
    assert re.match(rf"{re.escape(str(file))}:\d+:\d+: {re.escape(path)}", lines[0]), lines
    code, also = run(file, command="check")
    assert code == 2
    assert re.match(rf"{re.escape(str(file))}:\d+:\d+: {re.escape(path)}", also[0]), also


@pytest.mark.parametrize(
    ("content", "said"), [(None, "edgerouter.yaml"), ("a: [", "edgerouter.yaml:"), ("", "empty"), (b"\xff\xfe", "UTF-8")]
)
def test_a_file_that_cannot_be_read_gives_one_clear_line(tmp_path: Path, content: str | bytes | None, said: str) -> None:
    file = tmp_path / "edgerouter.yaml"
    if content is not None:
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
    code, lines = run(file)
    assert (code, len(lines)) == (2, 1), lines
    assert said in lines[0]


def test_a_port_in_use_gives_one_clear_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        config = good(tmp_path) | {"admin": {"listen": f"127.0.0.1:{taken.getsockname()[1]}"}}
        file = tmp_path / "edgerouter.yaml"
        file.write_text(yaml.safe_dump(config))
        code, lines = run(file)
    assert code == 2
    assert [line for line in lines if "in use" in line] == lines
    assert lines[0].startswith(f"{file}:2:11: admin.listen: "), lines


def test_too_few_file_descriptors_give_one_clear_line(tmp_path: Path) -> None:
    """With a limit of 16, the traceback came from an arbitrary place that opened the seventeenth."""
    file = tmp_path / "edgerouter.yaml"
    file.write_text(yaml.safe_dump(good(tmp_path)))
    command = f"ulimit -n 16; exec {sys.executable} -m edgerouter.cli.main run -c {file}"
    ended = subprocess.run(["bash", "-c", command], capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 2
    [line] = ended.stderr.strip().splitlines()
    assert "only 16 files and connections may be open at once" in line
    assert "ulimit -n" in line


def test_all_mistakes_are_said_at_once(tmp_path: Path) -> None:
    config = good(tmp_path)
    for path, value, _ in list(WRONG.values())[:3]:
        put(config, path, value)
    config["sinks"]["other"] = {"type": "file", "path": str(tmp_path), "timeout": "soon"}
    file = tmp_path / "edgerouter.yaml"
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    code, lines = run(file)
    assert code == 2
    assert len(lines) >= 3
    assert all(line.startswith(str(file)) for line in lines)


def test_a_second_router_on_one_folder_is_refused_and_told_which_process_has_it(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(yaml.safe_dump(good(tmp_path)))
    command = [sys.executable, "-m", "edgerouter.cli.main", "run", "-c", str(file)]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as first:
        assert first.stderr is not None
        while "edgerouter runs" not in first.stderr.readline():
            assert first.poll() is None
        code, lines = run(file)
        first.terminate()
    assert code == 2
    assert [line for line in lines if str(first.pid) in line] == lines
