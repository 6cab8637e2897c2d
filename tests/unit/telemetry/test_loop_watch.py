"""The loop watch names the holder of a blocked event loop, and raises no false alarm.

Covers also: edgerouter.telemetry.frames, edgerouter.telemetry.thread_times.
"""

import asyncio
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
import structlog

from edgerouter.telemetry import loop_watch
from edgerouter.telemetry.loop_watch import LoopWatch, Rest
from edgerouter.telemetry.thread_times import native_hold

uvloop = pytest.importorskip("uvloop")
NewLoop = Callable[[], asyncio.AbstractEventLoop]
LOOPS = pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


@pytest.fixture(autouse=True)
def _logged_as_text(monkeypatch: pytest.MonkeyPatch) -> None:
    """Log through the standard library only, so that `caplog` gets the lines whatever another test configured."""
    logger = structlog.wrap_logger(
        logging.getLogger("edgerouter.loop"),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[structlog.processors.KeyValueRenderer()],
    )
    monkeypatch.setattr(loop_watch, "log", logger)


def block(seconds: float) -> None:
    time.sleep(seconds)


async def write(seconds: float) -> None:
    """A plugin's coroutine that blocks."""
    await asyncio.sleep(0)
    block(seconds)
    await asyncio.sleep(0)


def watched(
    new_loop: NewLoop, main: Callable[[LoopWatch], Awaitable[None]], plugins: Callable[[], dict[str, str]] = dict
) -> LoopWatch:
    """Run a coroutine on a watched loop of this kind; return the watch."""
    watch = LoopWatch(plugins)

    async def run() -> None:
        with watch.watching():
            await asyncio.sleep(0.3)  # the watch has started sampling
            await main(watch)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(run())
    return watch


async def counted(watch: LoopWatch, pauses: int) -> None:
    """Wait until the watch has seen that many pauses end."""
    async with asyncio.timeout(30):
        while watch.status.pauses < pauses:
            await asyncio.sleep(0.01)


@LOOPS
def test_a_task_that_blocks_is_named_with_its_line_and_its_stack(new_loop: NewLoop, caplog: pytest.LogCaptureFixture) -> None:
    async def main(watch: LoopWatch) -> None:
        await asyncio.create_task(write(1.0), name="write cloud")
        await counted(watch, 1)

    status = watched(new_loop, main).status
    assert sum(status.lags.counts[-3:]) >= 1
    assert status.lags.total > 0.5
    assert status.last_holder == "sink cloud"
    assert status.last_place.startswith("test_loop_watch.py:")
    assert status.last_place.endswith("in block")
    assert status.last_pause_seconds >= 0.25
    assert status.longest_pause_seconds == status.last_pause_seconds
    assert status.held_seconds == {"sink cloud": status.paused_seconds}
    [held] = [r for r in caplog.records if "the event loop is held" in r.getMessage()]
    assert "in write" in held.getMessage()
    assert "block(seconds)" in held.getMessage()


@LOOPS
def test_a_task_that_a_plugin_made_is_named_by_the_plugins_module(new_loop: NewLoop) -> None:
    async def main(watch: LoopWatch) -> None:
        await asyncio.create_task(write(1.0))
        await counted(watch, 1)

    status = watched(new_loop, main, lambda: {__name__.partition(".")[0]: "sink cloud"}).status
    assert status.last_holder == "sink cloud"


@LOOPS
def test_a_callback_that_blocks_is_noticed_without_a_task(new_loop: NewLoop) -> None:
    async def main(watch: LoopWatch) -> None:
        asyncio.get_running_loop().call_soon(block, 1.0)
        await counted(watch, 1)

    status = watched(new_loop, main).status
    assert status.last_holder == "a callback"
    assert status.last_place.endswith("in block")


def test_a_place_that_holds_the_loop_again_and_again_is_logged_once_a_minute(caplog: pytest.LogCaptureFixture) -> None:
    async def main(watch: LoopWatch) -> None:
        for number in range(3):
            await write(0.6)
            await counted(watch, number + 1)

    status = watched(asyncio.new_event_loop, main).status
    assert status.pauses == 3
    assert len([r for r in caplog.records if "the event loop is held" in r.getMessage()]) == 1
    assert len([r for r in caplog.records if "the event loop was held" in r.getMessage()]) == 1


@LOOPS
def test_many_short_turns_of_a_busy_loop_are_not_a_pause(new_loop: NewLoop) -> None:
    longest = 0.0

    async def main(_: LoopWatch) -> None:
        nonlocal longest
        began = turned = time.monotonic()
        while turned < began + 2:
            sum(range(20_000))
            await asyncio.sleep(0)
            before, turned = turned, time.monotonic()
            longest = max(longest, turned - before)

    for _ in range(10):
        longest, status = 0.0, watched(new_loop, main).status
        if longest < 0.2:  # otherwise the host paused this virtual machine, which looks like a turn of that length
            break
    assert longest < 0.2
    assert status.pauses == 0


@pytest.mark.parametrize(
    ("what", "turns", "held"),
    [
        ("native code that never releases the GIL", 200, 1.0),
        ("a stalled machine, which wakes no thread", 1, 0.01),
        ("a loop of short turns, which releases the GIL before the waiting thread can take it", 3000, 0.0),
    ],
)
def test_a_thread_that_waits_for_the_gil_does_not_mistake_short_turns_for_native_code(what: str, turns: int, held: float) -> None:
    assert native_hold(1.0, turns) == pytest.approx(held), what


def test_native_code_that_keeps_the_gil_is_a_pause() -> None:
    held = 0.0

    async def main(_: LoopWatch) -> None:
        nonlocal held
        began = time.thread_time()
        sum(range(80_000_000))  # one call, without a switch of threads
        held = time.thread_time() - began
        await asyncio.sleep(0.5)

    for _ in range(3):
        status = watched(asyncio.new_event_loop, main).status
        if status.pauses == 1:  # otherwise the machine was so busy that the time may belong to it
            break
    assert status.last_holder == "native code"
    assert held / 2 < status.paused_seconds < held + 0.1


_STARVED = """
import asyncio, sys, time
import uvloop
from edgerouter.telemetry.loop_watch import LoopWatch, Rest
from edgerouter.telemetry.thread_times import native_hold

async def main():
    watch = LoopWatch(dict)
    with watch.watching():
        print("ready", flush=True)
        end = time.monotonic() + 6
        while time.monotonic() < end:
            used = time.thread_time() + 0.08  # of the processor, of which it gets a ninth
            while time.thread_time() < used:
                pass
            await asyncio.sleep(0)
    print(watch.status.pauses)

uvloop.run(main())
"""


@pytest.mark.skipif(not Path("/proc/self/schedstat").exists(), reason="the kernel does not say how long a thread waited")
def test_a_busy_machine_and_a_stopped_process_are_not_a_pause() -> None:
    """Eight busy loops on the same CPU, and a process that is stopped for a while, as on a suspended laptop."""
    processor = {min(os.sched_getaffinity(0))}
    busy = []
    try:
        with subprocess.Popen([sys.executable, "-c", _STARVED], stdout=subprocess.PIPE, text=True) as watched_process:
            assert watched_process.stdout is not None
            assert watched_process.stdout.readline() == "ready\n"
            os.sched_setaffinity(watched_process.pid, processor)
            for _ in range(8):
                busy.append(subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]))
                os.sched_setaffinity(busy[-1].pid, processor)
            watched_process.send_signal(signal.SIGSTOP)
            time.sleep(1)
            watched_process.send_signal(signal.SIGCONT)
            assert watched_process.stdout.read() == "0\n"
    finally:
        for process in busy:
            process.kill()
            process.wait()


def test_the_thread_ends_with_the_watch_and_costs_next_to_nothing_while_the_loop_is_idle() -> None:
    before = threading.active_count()

    async def main(_: LoopWatch) -> None:
        start = time.process_time()
        await asyncio.sleep(2)
        assert time.process_time() - start < 0.05

    watched(uvloop.new_event_loop, main)
    assert threading.active_count() == before


def test_a_loop_that_has_run_nothing_but_timers_for_two_seconds_is_sampled_less_often_until_it_works_again() -> None:
    rest = Rest()
    assert [rest.after(0.001, 0.25) for _ in range(10)] == [0.25] * 8 + [2.0] * 2
    assert rest.after(0.01, 2.0) == 2.0
    assert rest.after(0.1, 2.0) == 0.25
    assert [rest.after(0.0, 0.25) for _ in range(9)] == [0.25] * 8 + [2.0]
    rest.end()
    assert rest.after(0.0, 0.25) == 0.25


def test_a_loop_of_which_the_kernel_says_nothing_is_sampled_often() -> None:
    rest = Rest()
    assert {rest.after(None, 0.25) for _ in range(20)} == {0.25}
