"""Stops a process as a suspended machine does, and returns once it has stopped: the signal alone is not waited for."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

SECONDS = 10


def freeze(process_id: int) -> None:
    """Stop all threads of a process without closing its connections."""
    os.kill(process_id, signal.SIGSTOP)
    deadline = time.monotonic() + SECONDS
    while not all(_has_stopped(thread) for thread in Path(f"/proc/{process_id}/task").iterdir()):
        assert time.monotonic() < deadline, f"process {process_id} does not stop"
        time.sleep(0.001)


def _has_stopped(thread: Path) -> bool:
    try:
        return (thread / "stat").read_text().rpartition(")")[2].split()[0] in "TtZX"
    except FileNotFoundError:
        return True
