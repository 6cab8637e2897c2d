"""Order of a whole run, and a check at its end that no process started by a test is still alive."""

from __future__ import annotations

import gc
import os
import time
import uuid
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis.internal.conjecture import providers

from support.forking import end_zygote

# the time of a property test depends on the load of the machine, and says nothing about the property
EXAMPLES = int(os.environ.get("EDGEROUTER_TEST_EXAMPLES", "40"))
settings.register_profile("shared machine", deadline=None, max_examples=EXAMPLES, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("shared machine")
# constants of all modules imported so far take 4 s to collect, and make the examples depend on the tests that ran before
providers.is_local_module_file = lambda _: False  # type: ignore[assignment, attr-defined]

MARK = "EDGEROUTER_TEST_RUN"
"""Every process of one run has this variable, with a value unique to the run."""
PATIENCE = 10
"""Seconds; a process that is shutting down may need a moment."""


LONGEST = (
    "test_kill.py::test_kills_at_random",
    "edgerouter-azure/tests/test_end_to_end.py",
    "edgerouter-aws/tests/test_end_to_end.py",
    "edgerouter-gcp/tests/test_end_to_end.py",
    "test_state_machine.py",
    "test_kills_in_the_middle_lose_nothing",
    "test_reloads_under_load_lose_nothing",
    "test_two_letters_that_changed_places",
    "test_all_prose_keeps_the_rules",
    "test_example_plugins.py",
    "test_variables.py::test_what_is_published_to_the_default_topic",
    "test_a_busy_machine_and_a_stopped_process_are_not_a_pause",
    "test_a_token_is_renewed_before_it_expires",
    "test_six_sinks.py",
)
"""Parts of the names of the longest tests, longest first: one that starts last keeps all other workers waiting."""


def longest_first(items: list[pytest.Item], workers: int) -> list[pytest.Item]:
    """Deal the longest tests to the workers, each in front of the equal share that pytest-xdist gives it at the start."""
    places = {id(item): place for item in items for place, part in enumerate(LONGEST) if part in item.nodeid}
    longest = sorted((item for item in items if id(item) in places), key=lambda item: places[id(item)])
    others = [item for item in items if id(item) not in places]
    ordered: list[pytest.Item] = []
    for worker in range(workers):
        own = longest[worker::workers]
        share = (len(items) - len(ordered)) // (workers - worker) - len(own)
        ordered += own + others[: max(share, 0)]
        del others[: max(share, 0)]
    return ordered + others


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
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items[:] = longest_first(items, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1")))
    # what collection has made lives as long as the process; without it a full collection takes milliseconds
    gc.collect()
    gc.freeze()


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
