"""Follows a growing file of messages: counts its lines, and the age of each message when its line appeared."""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import Callable
from pathlib import Path

SENT_AT = re.compile(rb'"t\\*": *(\d+)')
"""The load generator's time in its payload, however the line embeds the payload."""


class Output:
    """Reads the `*.jsonl` file in a folder incrementally.

    Args:
        folder: folder that the subject writes to; the file may appear later.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path: Path | None = None
        self._at = 0
        self._rest = b""
        self.lines = 0
        self.bytes = 0

    def read(self) -> bytes:
        """Return new data up to the end of a line."""
        if self._path is None:
            self._path = next(iter(sorted(self._folder.glob("[!.]*.jsonl"))), None)
            if self._path is None:
                return b""
        with self._path.open("rb") as file:
            file.seek(self._at)
            data = file.read()
        self._at += len(data)
        complete, newline, rest = (self._rest + data).rpartition(b"\n")
        self._rest = rest
        self.lines += complete.count(b"\n") + len(newline)
        self.bytes += len(complete) + len(newline)
        return complete

    async def until(self, lines: int, timeout: float) -> float:  # noqa: ASYNC109  (the caller's bound of a measurement)
        """Wait until the file has that many lines; return the time at which this was seen, in seconds since 1970.

        Raises:
            TimeoutError: nothing new for that long.
        """
        give_up, before = time.perf_counter() + timeout, self.lines
        while self.lines < lines:
            self.read()
            now = time.perf_counter()
            if self.lines != before:
                give_up, before = now + timeout, self.lines
            elif now > give_up:
                raise TimeoutError(f"{self.lines} of {lines} messages arrived, and none for {timeout:g} s")
            await asyncio.sleep(0.01)
        return time.time()

    async def ages(self, lines: int, timeout: float) -> list[float]:  # noqa: ASYNC109  (the caller's bound of a measurement)
        """Wait until the file has that many lines; return the age in seconds of each new message when its line was seen.

        Raises:
            TimeoutError: nothing new for that long.
        """
        ages = await self.ages_until(lines, quiet=timeout)
        if self.lines < lines:
            raise TimeoutError(f"{self.lines} of {lines} messages arrived, and none for {timeout:g} s")
        return ages

    async def ages_until(self, lines: int, *, quiet: float, most: float = math.inf) -> list[float]:
        """Like `ages`, but return what has arrived once nothing was new for `quiet` seconds, or after `most`."""
        return await self._ages(lambda ages: self.lines >= lines, quiet, most)  # noqa: ARG005  (lines without a time count too)

    async def first_ages(self, count: int, timeout: float) -> list[float]:  # noqa: ASYNC109  (the caller's bound of a measurement)
        """Wait for that many messages with the load generator's time, among others; return their ages in seconds.

        Raises:
            TimeoutError: nothing new for that long.
        """
        ages = await self._ages(lambda ages: len(ages) >= count, timeout, math.inf)
        if len(ages) < count:
            raise TimeoutError(f"{len(ages)} of {count} messages arrived, and none for {timeout:g} s")
        return ages

    async def _ages(self, enough: Callable[[list[float]], bool], quiet: float, most: float) -> list[float]:
        ages: list[float] = []
        began = last = time.perf_counter()
        while not enough(ages):
            data = self.read()
            now, clock = time.time_ns(), time.perf_counter()
            if data:
                ages.extend((now - int(sent)) / 1e9 for sent in SENT_AT.findall(data))
                last = clock
            if clock - last > quiet or clock - began > most:
                break
            await asyncio.sleep(0.001)
        return ages
