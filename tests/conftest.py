"""Checks at the end of a whole run that no process started by a test is still alive."""

from __future__ import annotations

import os
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from support.forking import end_zygote

# the time of a property test depends on the load of the machine, and says nothing about the property
settings.register_profile("shared machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")


MARK = "EDGEROUTER_TEST_RUN"
"""Every process of one run has this variable, with a value unique to the run."""
PATIENCE = 10
"""Seconds; a process that is shutting down may need a moment."""


def of_this_run(number: str) -> str | None:
    """Return the command line of a process if a test of this run has started it."""
    process = Path("/proc", number)
    try:
        if f"{MARK}={os.environ[MARK]}".encode() not in (process / "environ").read_bytes().split(b"\0"):
            return None
        return (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip() or None
    except OSError:
        # it has ended, or belongs to another user
        return None


def left() -> dict[str, str]:
    """Return the command lines of processes started by tests, by number."""
    numbers = {entry.name for entry in Path("/proc").iterdir() if entry.name.isdecimal()} - {str(os.getpid())}
    return {number: line for number in numbers if (line := of_this_run(number))}


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # workers of pytest-xdist inherit it from the process that started them
    os.environ.setdefault(MARK, uuid.uuid4().hex)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    end_zygote()
    if hasattr(session.config, "workerinput") or not Path("/proc/self/environ").exists():
        return
    deadline = time.monotonic() + PATIENCE
    while (strays := left()) and time.monotonic() < deadline:
        time.sleep(0.05)
    if strays:
        reporter = session.config.pluginmanager.get_plugin("terminalreporter")
        assert reporter is not None, "pytest reports to a terminal"
        for number, line in strays.items():
            reporter.write_line(f"left running by the tests: {number} {line}", red=True)
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
