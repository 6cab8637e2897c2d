"""The command line in a separate process."""

from __future__ import annotations

import asyncio
import subprocess
import sys


async def edgerouter(*arguments: object, code: int = 0) -> str:
    """Run the command and return its output; it must exit with this code."""

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "edgerouter.cli.main", *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    ended = await asyncio.to_thread(run)
    assert ended.returncode == code, ended.stderr + ended.stdout
    return ended.stdout
