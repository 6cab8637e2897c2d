"""`edgerouter demo`, as a user starts it.

Covers: edgerouter.cli.demo, edgerouter.demo.broker, edgerouter.demo.devices, edgerouter.demo.table.
"""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from edgerouter import extras
from support.arrivals import lines


async def start(folder: Path, *arguments: str, **environment: str) -> asyncio.subprocess.Process:
    """Start the demo with its temporary folder in `folder`."""
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "edgerouter.cli.main", "demo", *arguments),
        env={**os.environ, "TMPDIR": str(folder), **environment},
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def end(process: asyncio.subprocess.Process) -> tuple[str, str]:
    """Wait for the end; return standard output and standard error."""
    try:
        async with asyncio.timeout(60):
            out, err = await process.communicate()
    except TimeoutError:
        process.kill()
        raise
    return out.decode(), err.decode()


def archived(temporary: Path) -> list[bytes]:
    """Return the lines of the demo's archive."""
    [folder] = temporary.iterdir()
    return list(lines(folder / "archive"))


async def test_everything_that_the_devices_sent_is_in_the_files(tmp_path: Path) -> None:
    """The demo ends by itself, reports its result, and the files agree with it."""
    process = await start(tmp_path, "--seconds", "3", "--rate", "200")
    out, err = await end(process)
    assert (process.returncode, err) == (0, "")
    [sent, stored] = re.findall(r"archive: (\d+) sent, (\d+) stored: sent = stored", out)[0]
    assert sent == stored
    assert int(sent) > 100
    assert len(archived(tmp_path)) == int(stored)
    assert re.search(r"^ +\d s  sent \d+  in \d+  spooled \d+  out: archive \d+", out, re.MULTILINE)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_ctrl_c_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    process = await start(tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(60):
        while b"spooled" not in (line := await process.stdout.readline()):
            assert line, "the demo ended by itself"
    process.send_signal(number)
    out, err = await end(process)
    assert (process.returncode, err) == (0, "")
    assert "sent = stored" in out


async def test_without_its_broker_it_says_what_to_install(tmp_path: Path) -> None:
    hidden = tmp_path / "hidden" / "amqtt"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError(\"No module named 'amqtt'\", name='amqtt')\n")
    process = await start(tmp_path, PYTHONPATH=str(hidden.parent))
    out, err = await end(process)
    assert (process.returncode, out) == (2, "")
    assert err == f"the demo needs a broker, and amqtt is not installed: {extras.install_command('demo')}\n"


async def test_a_terminal_gets_a_table(tmp_path: Path) -> None:
    """Rich treats any output as a terminal if FORCE_COLOR is set."""
    process = await start(tmp_path, "--seconds", "2", FORCE_COLOR="1", TERM="xterm", COLUMNS="120")
    out, err = await end(process)
    assert (process.returncode, err) == (0, "")
    assert "out: archive (file)" in out
    assert "sent = stored" in out
