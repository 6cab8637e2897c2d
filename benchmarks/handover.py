"""`python -m benchmarks.handover`: the cost of a commit in which no work is done: a timer, hand-overs and syncs.

A loop wakes up every 20 ms and hands bytes to threads, one after the other, as a commit goes to the thread of the spool and its
messages to that of a file sink. What this takes of a processor is the least that any walk of that shape takes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from functools import partial
from pathlib import Path

import uvloop
from benchmarks.workspace import workspace

from edgerouter.tasks.thread import Worker

INTERVAL = 0.02
BYTES = b"x" * 5000
SHAPES = ((0, False), (1, False), (2, False), (1, True), (2, True))
"""Threads, and whether each of them syncs."""


def store(fd: int, *, sync: bool) -> None:
    """Write, in a thread."""
    os.write(fd, BYTES)
    if sync:
        os.fdatasync(fd)


async def cycle(folder: Path, threads: int, cycles: int, *, sync: bool) -> float:
    """Return the CPU of a cycle, in ms."""
    fds = [os.open(folder / f"{threads}{sync}{number}", os.O_CREAT | os.O_WRONLY | os.O_APPEND) for number in range(threads)]
    workers = [Worker(f"writer {number}") for number in range(threads)]
    try:
        for fd, worker in zip(fds, workers, strict=True):
            await worker.run(partial(store, fd, sync=sync))
        began = time.process_time()
        for _ in range(cycles):
            await asyncio.sleep(INTERVAL)
            for fd, worker in zip(fds, workers, strict=True):
                await worker.run(partial(store, fd, sync=sync))
        return (time.process_time() - began) / cycles * 1e3
    finally:
        for worker in workers:
            await worker.close()
        for fd in fds:
            os.close(fd)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.handover", description=__doc__)
    parser.add_argument("--cycles", type=int, default=250)
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp"))
    options = parser.parse_args()
    print("| every 20 ms | CPU, ms | % of a core |\n|---|---:|---:|")
    with workspace(options.folder) as folder:
        for threads, sync in SHAPES:
            cost = uvloop.run(cycle(folder, threads, options.cycles, sync=sync))
            name = f"a hand-over to {threads} thread{'s' * (threads > 1)}, {'a write and a sync' if sync else 'a write'} in each"
            print(f"| {name if threads else 'a timer'} | {cost:.2f} | {cost / INTERVAL / 10:.1f} |")


if __name__ == "__main__":
    main()
