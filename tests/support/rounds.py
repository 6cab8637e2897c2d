"""Repeats a test many times, as often as the machine manages in the given time."""

from __future__ import annotations

import time
from collections.abc import Iterator


def rounds(most: int, *, seconds: float, least: int = 10) -> Iterator[int]:
    """Count up to `most`; on a busy machine stop after that many seconds, but not before `least`."""
    began = time.monotonic()
    for number in range(most):
        if number >= least and time.monotonic() - began > seconds:
            print(f"{number} of {most} rounds: this machine is busy")
            return
        yield number
