"""The command line in a separate process, forked from the zygote like the routers: a test may run ten commands."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

from support.forking import zygote


def run(
    *arguments: object, environment: Mapping[str, str] | None = None, folder: Path | None = None, timeout: float = 60
) -> subprocess.CompletedProcess[str]:
    """Run `edgerouter` with these arguments, as `subprocess.run` does.

    Args:
        arguments: such as `check -c FILE`.
        environment: all of its variables; those of this process by default.
        folder: to work in.
        timeout: in seconds.

    Raises:
        TimeoutError: it took longer.
    """
    words = [str(argument) for argument in arguments]
    with tempfile.TemporaryDirectory() as outputs, socket.socket(socket.AF_UNIX) as connection:
        out, err = Path(outputs, "out"), Path(outputs, "err")
        order = {
            "arguments": words,
            "environment": dict(os.environ if environment is None else environment),
            "output": str(out),
            "log": str(err),
            "folder": None if folder is None else str(folder),
        }
        connection.settimeout(timeout)
        connection.connect(str(zygote().socket))
        connection.sendall(json.dumps(order).encode() + b"\n")
        with connection.makefile("rb") as answers:
            answers.readline()  # its number
            code = int(answers.readline())
        return subprocess.CompletedProcess(words, code, out.read_text(), err.read_text())


async def edgerouter(*arguments: object, code: int = 0) -> str:
    """Run the command and return its output; it must exit with this code."""
    ended = await asyncio.to_thread(run, *arguments)
    assert ended.returncode == code, ended.stderr + ended.stdout
    return ended.stdout
