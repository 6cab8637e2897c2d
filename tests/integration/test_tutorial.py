"""The tutorial for authors of sinks runs word for word, with an edgerouter that was installed from its wheel.

Covers: docs/tutorials/write-a-sink.md.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mosquitto import free_port

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/tutorials/write-a-sink.md").read_text()
WHEEL = "import sys; from hatchling import build; print(build.build_wheel(sys.argv[1]))"
UNTIL_DELIVERED = """
until grep -q "^plant/temperature" "$OUTPUT"; do sleep 0.1; done
kill $(jobs -p)
wait
"""


def blocks() -> Iterator[tuple[str, str]]:
    """Yield each block of the page, with the file that the text in front of it names; empty for commands."""
    for prose, language, block in re.findall(r"(.*?)^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        paragraph = prose.strip().rpartition("\n\n")[2]
        file = "" if language == "sh" else re.findall(r"`([\w-]+\.(?:patch|py|yaml))`", paragraph)[-1]
        yield file, block


def script() -> str:
    """Return the page as a program: commands run, other blocks become files."""
    parts = [f"cat > {file} <<'END OF BLOCK'\n{block}END OF BLOCK\n" if file else block for file, block in blocks()]
    text = "set -euo pipefail\n" + "".join(parts) + UNTIL_DELIVERED
    for port in ("8081", "8090"):
        text = text.replace(port, str(free_port()))
    return text


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Install the wheel into a fresh virtual environment, which sees the dependencies of this one and not its edgerouter."""
    python = tmp_path / "venv/bin/python"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", tmp_path / "venv"], check=True)
    site = next((tmp_path / "venv/lib").glob("python*/site-packages"))
    # a folder of a .pth file is searched, but its own .pth files, such as that of the checkout, are not read
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    for tool in ("pip", "pytest"):
        shim = python.with_name(tool)
        shim.write_text(f'#!/bin/sh\nexec {shlex.quote(str(python))} -m {tool} "$@"\n')
        shim.chmod(0o755)
    variables = {
        **{name: value for name, value in os.environ.items() if not name.startswith(("EDGEROUTER", "PYTHON"))},
        "PATH": f"{python.parent}:{os.environ['PATH']}", "OUTPUT": str(tmp_path / "output"),
        "PIP_NO_INDEX": "1", "PIP_NO_BUILD_ISOLATION": "0", "PIP_DISABLE_PIP_VERSION_CHECK": "1", "PIP_QUIET": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_ADDOPTS": "-p pytest_asyncio.plugin -p no:cacheprovider",
    }  # fmt: skip
    built = subprocess.run([sys.executable, "-c", WHEEL, tmp_path], cwd=ROOT, check=True, capture_output=True, text=True)
    wheel = tmp_path / built.stdout.split()[-1]
    subprocess.run([python.with_name("pip"), "install", "--no-deps", "--no-compile", wheel], env=variables, check=True)
    return variables


def test_every_block_of_the_tutorial_runs_and_its_sink_gets_a_message(tmp_path: Path, environment: dict[str, str]) -> None:
    """The plugin is generated, patched, tested, installed and delivered to by a router, none of which is the checkout's."""
    work = tmp_path / "work"
    work.mkdir()
    output = tmp_path / "output"
    with output.open("wb") as file:
        ran = subprocess.run(
            ["bash", "-c", script()], cwd=work, env=environment, stdout=file, stderr=file, timeout=110, check=False
        )
    said = output.read_text()
    assert ran.returncode == 0, said
    (number,) = re.findall(r"^(\d+) tests pass", PAGE, re.MULTILINE)
    assert f"{number} passed" in said
    assert re.search(r"^plant/temperature \w+-1$", said, re.MULTILINE), said


def test_the_sink_of_the_tutorial_is_fifteen_lines_away_from_the_generated_one() -> None:
    (patch,) = [block for file, block in blocks() if file == "sink.patch"]
    added = [line for line in patch.splitlines() if re.match(r"\+\s*\w", line)]
    assert len(added) <= 15, added
