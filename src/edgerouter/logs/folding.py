"""Folding: a line that repeats is written once, and then once a minute with the number of its repeats.

A dead service makes the same error at every attempt, of every worker. On a small box such a log wears the flash and hides the one
line that matters.
"""

from __future__ import annotations

import copy
import logging
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import blake2b
from typing import Any, Final

import msgspec

FOLD_SECONDS: Final = 60.0
"""Time for which repeats of a line are counted before they are reported."""
MOST_LINES: Final = 500
"""Different lines that are remembered; beyond it the oldest is reported and forgotten."""
MOST_CHARACTERS: Final = 2000
"""Longest field that the report of repeats shows."""

_BY_AN_OPERATOR: Final = frozenset({"edgerouter.app", "edgerouter.run", "edgerouter.steering"})
"""Loggers of starts, stops, reloads and pauses: each answers an action of an operator, who looks for it."""
_CHANGING: Final = frozenset({"exc_info", "exception", "first", "stack", "stack_info", "task", "timestamp"})
"""Fields that differ between lines about the same event."""
_NUMBERS: Final = re.compile("[0-9a-fA-F-]+")
"""Numbers of requests, ports and times in what a service answers, and hexadecimal ones; words of these letters have no digit."""

_DIGITS: Final = frozenset("0123456789")


class _Fold(msgspec.Struct):
    """A line that was written, and its repeats since."""

    since: float
    """Monotonic seconds."""
    repeats: int = 0
    messages: int = 0
    """Sum of the field `messages` of the repeats."""
    last: logging.LogRecord | None = None


class Folding(logging.Handler):
    """Passes on to another handler what is new, and counts what repeats.

    Args:
        target: writes the lines.
        clock: monotonic seconds.
        timer: calls a function after so many seconds, from any thread.
    """

    def __init__(
        self,
        target: logging.Handler,
        *,
        clock: Callable[[], float] = time.monotonic,
        timer: Callable[[float, Callable[[], None]], None] | None = None,
    ) -> None:
        super().__init__()
        self._target = target
        self._clock = clock
        self._timer = timer or _daemon_timer
        self._armed = False
        self._folds: dict[bytes, _Fold] = {}

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record, or count it as a repeat."""
        key = _key(record)
        if key is None:
            self._target.handle(record)
            return
        now = self._clock()
        self._report(now)
        fold = self._folds.get(key)
        if fold is None:
            if len(self._folds) >= MOST_LINES:
                self._write(self._folds.pop(next(iter(self._folds))), now)
            self._folds[key] = _Fold(now)
            self._target.handle(record)
            return
        fold.repeats += 1
        fold.messages += _messages(record)
        fold.last = record
        if not self._armed:
            self._armed = True
            self._timer(FOLD_SECONDS, self._due)

    def flush(self) -> None:
        """Report all repeats; the process ends."""
        with self._held():
            now = self._clock()
            for fold in self._folds.values():
                self._write(fold, now)
            self._folds.clear()
        self._target.flush()

    def _due(self) -> None:
        with self._held():
            self._armed = False
            self._report(self._clock())
            if any(fold.repeats for fold in self._folds.values()):
                self._armed = True
                self._timer(FOLD_SECONDS, self._due)

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the handler's lock, as `emit` does."""
        self.acquire()
        try:
            yield
        finally:
            self.release()

    def _report(self, now: float) -> None:
        """Report repeats whose time is over. A line that did not repeat in that time is new when it comes again."""
        while self._folds:
            key, fold = next(iter(self._folds.items()))
            if now - fold.since < FOLD_SECONDS:
                return  # in the order of their beginnings
            del self._folds[key]
            if fold.repeats:
                self._write(fold, now)
                self._folds[key] = _Fold(now)

    def _write(self, fold: _Fold, now: float) -> None:
        if fold.last is None:
            return
        count = "once" if fold.repeats == 1 else f"{fold.repeats} times"
        repeated = f"{count} in {max(1, round(now - fold.since))} s"
        self._target.handle(_summary(fold.last, repeated, fold.messages))


def _key(record: logging.LogRecord) -> bytes | None:
    """Return what is equal in lines about the same event; `None` for a line that is always written."""
    if record.name in _BY_AN_OPERATOR or record.levelno < logging.INFO:
        return None
    fields = record.msg if isinstance(record.msg, dict) else {"event": record.getMessage()}
    part = "sink" in fields or "source" in fields
    if record.levelno < logging.WARNING and not part:
        return None
    texts = [f"{record.name} {record.levelno}", *_texts(fields, numbers=part or not isinstance(record.msg, dict))]
    return blake2b("\0".join(texts).encode(errors="replace"), digest_size=16).digest()


def _texts(fields: Mapping[str, Any], *, numbers: bool) -> list[str]:
    """Return the fields that distinguish events; with `numbers`, two answers of a service differ in more than those."""
    texts = []
    for name, value in sorted(fields.items()):
        if name.startswith("_") or not isinstance(value, str) or name in _CHANGING:
            continue
        varies = numbers and name in ("event", "reason")
        texts.append(f"{name}={_NUMBERS.sub(_number, value) if varies else value}")
    raised = fields.get("exc_info")
    return [*texts, type(raised).__name__ if isinstance(raised, BaseException) else ""]


def _number(found: re.Match[str]) -> str:
    return "#" if not _DIGITS.isdisjoint(found[0]) else found[0]


def _messages(record: logging.LogRecord) -> int:
    count = record.msg.get("messages") if isinstance(record.msg, dict) else None
    return count if isinstance(count, int) else 0


def _summary(record: logging.LogRecord, repeated: str, messages: int) -> logging.LogRecord:
    summary = copy.copy(record)
    summary.exc_info = summary.exc_text = summary.stack_info = None
    if isinstance(record.msg, dict):
        kept = {name: value for name, value in record.msg.items() if name == "timestamp" or name not in _CHANGING}
        kept = {name: value for name, value in kept.items() if name.startswith("_") or len(str(value)) <= MOST_CHARACTERS}
        summary.msg = kept | {"repeated": repeated} | ({"messages": messages} if messages else {})
    else:
        summary.msg, summary.args = f"{record.getMessage()[:MOST_CHARACTERS]} (repeated {repeated})", ()
    return summary


def _daemon_timer(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.name, timer.daemon = "report repeated log lines", True
    timer.start()
