"""Watches the event loop from a thread: how long it is blocked, by which task and plugin, and at which line.

A coroutine that blocks (`time.sleep`, a synchronous client) stops every sink and the intake, and nothing on the loop can report it.
The thread samples the loop a few times a second. A loop that waits for events is left alone, and one that has run nothing but its
timers for a while is sampled less often. A loop that runs something gets a callback through `call_soon_threadsafe`; the time until
the callback runs is the pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import selectors
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

import msgspec
import structlog
from msgspec.structs import replace

from edgerouter.histogram import Histogram
from edgerouter.telemetry.frames import frame_below_coroutines, outwards, part_of_task, place_of, top_level
from edgerouter.telemetry.thread_times import ThreadTimes, native_hold

PAUSE_SECONDS: Final = 0.25
"""Shortest pause that is counted and logged with its stack."""

LAG_BOUNDS: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
"""Seconds."""

_IDLE_SECONDS: Final = 0.25
"""Between two samples of a loop that waits for events: so often that no pause begins and ends unseen."""
_RESTING_SECONDS: Final = 2.0
"""Between two samples of a loop that has run nothing but timers: each is a wake-up of the processor. A shorter pause may go
unseen then."""
_RESTS_AFTER: Final = 8
"""Samples in a row."""
_REST_SHARE: Final = 0.01
"""Share of a processor up to which the loop's thread counts as running nothing but timers."""
_BUSY_SECONDS: Final = 0.1
_ASKED_SECONDS: Final = 0.05
"""Between two samples while an answer is outstanding."""
_NAME_SECONDS: Final = 0.1
"""Pause after which the holder is looked up: once the pause is long enough to count, it may be over."""
_LATE_SECONDS: Final = 2 * _IDLE_SECONDS
"""Delay of a sample after which this thread itself must have been unable to run."""
_LOG_AGAIN_SECONDS: Final = 60.0
"""Between two log lines about the same place."""
_MOST_FRAMES: Final = 30
_MOST_PLACES: Final = 1000

log = structlog.get_logger("edgerouter.loop")


class LoopStatus(msgspec.Struct, frozen=True, kw_only=True):
    """Pauses of the event loop since the start."""

    pauses: int = 0
    """Pauses of a quarter of a second or longer."""
    paused_seconds: float = 0.0
    """Total length of those pauses."""
    longest_pause_seconds: float = 0.0
    """Longest pause seen, including those too short to count."""
    last_pause_seconds: float = 0.0
    last_pause_at: float | None = None
    """Wall-clock seconds; null before the first pause."""
    last_holder: str = ""
    """Sink, source or task that blocked the loop in the last pause."""
    last_place: str = ""
    """File, line and function."""
    held_seconds: dict[str, float] = msgspec.field(default_factory=dict)
    """Seconds of pauses by holder."""
    lags: Histogram = msgspec.field(default_factory=lambda: Histogram.of(LAG_BOUNDS))
    """Times that a callback waited for the busy loop, at most ten samples a second."""


class _Question(msgspec.Struct):
    """A callback posted to a busy loop."""

    asked: float
    """Monotonic seconds."""
    looked: float
    """Monotonic seconds of the last sample."""
    times: ThreadTimes
    """Times of the loop's thread at that sample."""
    answered: float | None = None
    held: float = 0.0
    """Seconds for which the loop's own work delayed the answer."""
    holder: str = ""
    place: str = ""
    logged: bool = False


class Rest:
    """Decides how often a loop that waits for events is sampled."""

    def __init__(self) -> None:
        self._samples = 0

    def after(self, used: float | None, seconds: float) -> float:
        """Return the time until the next sample.

        Args:
            used: CPU seconds of the loop's thread since the last sample; `None` = unknown.
            seconds: since then.
        """
        self._samples = self._samples + 1 if used is not None and used <= _REST_SHARE * seconds else 0
        return _RESTING_SECONDS if self._samples > _RESTS_AFTER else _IDLE_SECONDS

    def end(self) -> None:
        """Note that the loop was found at work."""
        self._samples = 0


class LoopWatch:
    """Watches one event loop.

    Args:
        plugins: maps the top-level module of a plugin to the sinks and sources it serves, such as "sink cloud"; called when a task
            created by a plugin blocks the loop.
    """

    def __init__(self, plugins: Callable[[], Mapping[str, str]]) -> None:
        self.status = LoopStatus()
        """Pauses so far."""
        self._plugins = plugins
        self._question: _Question | None = None
        self._rest = Rest()
        self._ended = threading.Event()
        self._logged: dict[str, float] = {}

    @contextlib.contextmanager
    def watching(self) -> Iterator[None]:
        """Watch the running loop until the context exits."""
        self._loop = asyncio.get_running_loop()
        self._thread_id = threading.get_ident()
        self._base = frame_below_coroutines()
        self._ended.clear()
        thread = threading.Thread(target=self._watch, args=(threading.get_native_id(),), name="watch event loop", daemon=True)
        thread.start()
        try:
            yield
        finally:
            self._ended.set()
            thread.join(1.0)

    def _watch(self, loop_thread: int) -> None:
        own_thread = threading.get_native_id()
        seconds = _IDLE_SECONDS
        times, own = ThreadTimes.of(loop_thread), ThreadTimes.of(own_thread)
        due = time.monotonic() + seconds
        while not self._ended.wait(seconds):
            now = time.monotonic()
            before, times = times, ThreadTimes.of(loop_thread)
            own_before, own = own, ThreadTimes.of(own_thread)
            if self._question is None and now - due > _LATE_SECONDS:
                # This thread could not run. If the loop's thread used the CPU all the while, native code held the GIL. Otherwise
                # the whole process was stopped or starved, which is not the loop's fault.
                late = now - due - (own.delay - own_before.delay)
                self._count(
                    min(native_hold(late, own.turns - own_before.turns), times.cpu - before.cpu), "native code", "", logged=False
                )
            try:
                seconds = self._look(now, times, times.cpu - before.cpu if times.cpu else None, seconds)
            except RuntimeError:  # the loop is closed
                return
            due = time.monotonic() + seconds

    def _look(self, now: float, times: ThreadTimes, used: float | None, seconds: float) -> float:
        """Take one sample, `seconds` and `used` CPU seconds after the last; return the seconds until the next."""
        question = self._question
        if question is None:
            if self._waits_for_events():
                return self._rest.after(used, seconds)
            self._rest.end()
            self._ask(times)
            return _ASKED_SECONDS
        answered = question.answered
        question.held += self._own_doing(question, now if answered is None else answered, times)
        question.looked, question.times = now, times
        if answered is not None:
            self._question = None
            self.status.lags.add(max(0.0, answered - question.asked))
            self._count(question.held, question.holder, question.place, logged=question.logged)
            return _BUSY_SECONDS
        if question.held >= (PAUSE_SECONDS if question.holder else _NAME_SECONDS) and not question.logged:
            self._name_holder(question)
        return _ASKED_SECONDS

    def _ask(self, times: ThreadTimes) -> None:
        # not the time of the sample: this thread may have waited since then, for the GIL or a CPU
        now = time.monotonic()
        question = self._question = _Question(now, now, times)

        def answer() -> None:
            question.answered = time.monotonic()

        self._loop.call_soon_threadsafe(answer)

    def _waits_for_events(self) -> bool:
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001  (documented; there is no other way to look at a thread)
        # uvloop waits in C, below the frame that runs the loop
        return frame is None or frame.f_code is self._base or frame.f_code.co_filename == selectors.__file__

    @staticmethod
    def _own_doing(question: _Question, until: float, times: ThreadTimes) -> float:
        """Seconds since the last sample for which the loop's thread ran or blocked, without its waits for a CPU."""
        elapsed = max(0.0, until - question.looked)
        if elapsed > _LATE_SECONDS:
            # this thread was kept from sampling too: by a stopped process, or by native code that used the CPU
            elapsed = max(_ASKED_SECONDS, min(elapsed, times.cpu - question.times.cpu))
        # may be negative: the thread waited after `until` and before its times were read; the next sample makes up for it
        return elapsed - (times.delay - question.times.delay)

    def _name_holder(self, question: _Question) -> None:
        frame = sys._current_frames().get(self._thread_id)  # noqa: SLF001  (as above)
        task = asyncio.current_task(self._loop)
        if frame is None or question.answered is not None:
            return  # it is over
        modules = self._plugins()
        frames = list(outwards(frame))
        of_plugin = [inner for inner in frames if top_level(inner) in modules]
        name = task.get_name() if task is not None else ""
        question.holder = part_of_task(name) or (modules[top_level(of_plugin[0])] if of_plugin else name or "a callback")
        question.place = place_of((of_plugin or frames)[0])
        if question.held >= PAUSE_SECONDS and self._is_news(question.place, question.looked):
            question.logged = True
            log.warning(
                "the event loop is held; every sink and source waits",
                holder=question.holder,
                place=question.place,
                seconds=round(question.held, 2),
                task=name,
                stack="".join(traceback.format_stack(frame, _MOST_FRAMES)).rstrip(),
            )

    def _is_news(self, place: str, now: float) -> bool:
        last = self._logged.get(place)
        if last is not None and now - last < _LOG_AGAIN_SECONDS:
            return False
        if len(self._logged) >= _MOST_PLACES:
            self._logged.clear()
        self._logged[place] = now
        return True

    def _count(self, seconds: float, holder: str, place: str, *, logged: bool) -> None:
        status, seconds = self.status, max(0.0, seconds)
        longest = max(status.longest_pause_seconds, seconds)
        if seconds < PAUSE_SECONDS:
            if longest > status.longest_pause_seconds:
                self.status = replace(status, longest_pause_seconds=longest)
            return
        holder = holder or "unknown"
        counted = holder if holder in status.held_seconds or len(status.held_seconds) < _MOST_PLACES else "(other)"
        self.status = replace(
            status,
            pauses=status.pauses + 1,
            paused_seconds=status.paused_seconds + seconds,
            longest_pause_seconds=longest,
            last_pause_seconds=seconds,
            last_pause_at=time.time(),
            last_holder=holder,
            last_place=place,
            held_seconds=status.held_seconds | {counted: status.held_seconds.get(counted, 0.0) + seconds},
        )
        if logged or self._is_news(place, time.monotonic()):
            log.warning("the event loop was held", holder=holder, place=place, seconds=round(seconds, 2))


def by_top_level(modules: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return who uses each top-level module outside the core: `edgerouter_aws` -> `sink alerts or sink archive`.

    Args:
        modules: a sink or source, and the module of its plugin.
    """
    users: dict[str, str] = {}
    for user, module in modules:
        top_level = module.partition(".")[0]
        if top_level != "edgerouter":
            users[top_level] = f"{users[top_level]} or {user}" if top_level in users else user
    return users
