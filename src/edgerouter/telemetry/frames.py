"""Frames of the event loop's thread: whether it waits, and which plugin and line holds it."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from types import CodeType, FrameType


def frame_below_coroutines() -> CodeType | None:
    """Return the code that runs the loop if the loop's frames are native, as uvloop's are; None for a loop in Python."""
    frame: FrameType | None = inspect.currentframe()
    below: FrameType | None = None
    while frame is not None:
        if frame.f_code.co_flags & inspect.CO_COROUTINE:
            below = frame.f_back
        frame = frame.f_back
    if below is None or below.f_code.co_filename == asyncio.events.__file__:
        return None
    return below.f_code


def outwards(frame: FrameType | None) -> Iterator[FrameType]:
    """Iterate over a frame and its callers."""
    while frame is not None:
        yield frame
        frame = frame.f_back


def top_level(frame: FrameType) -> str:
    """Return the top-level package of a frame's module."""
    return str(frame.f_globals.get("__name__", "")).partition(".")[0]


def part_of_task(name: str) -> str:
    """Return the sink or source that a task of the router works for; empty for other tasks."""
    kind, _, rest = name.partition(" ")
    if kind in ("sink", "source"):
        return name
    if kind == "write":
        return f"sink {rest}"
    return ""


def place_of(frame: FrameType) -> str:
    """Return file, line and function, for a log line."""
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
