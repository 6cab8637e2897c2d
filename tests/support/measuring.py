"""Lines of the product that the tests execute, in the processes of pytest and in every process that is forked for a test.

`make test` names a folder in `MEASURE_LINES`; each process writes there as it ends, and `python -m support.measuring FOLDER` shows
the sum by room. Slipcover puts a probe in front of each line and takes those away that have reported, so a line costs time only
until it was seen. Up to Python 3.11, taking away holds a process for 150 ms: it is done between tests, and by the zygote between
two forks, never in a forked process. Not measured are processes that are killed, and those that start a new interpreter.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from slipcover import Slipcover  # loaded only in a run that measures

ROOT = Path(__file__).parents[2]
LOW = 80
"""Percent; files below are listed."""
MANY = 500
"""New lines after which their probes are taken away."""


@cache
def probes() -> Slipcover:
    """The probes of this process, which those that it forks inherit."""
    import slipcover

    return slipcover.Slipcover(d_miss_threshold=-1)


@cache
def target() -> Path | None:
    """The folder to write to, `None` if this run does not measure; constant, since tests change the environment."""
    return Path(os.environ["MEASURE_LINES"]) if "MEASURE_LINES" in os.environ else None


def sources() -> list[Path]:
    """The folders whose modules are measured: the core, then the plugins."""
    return [ROOT / "src" / "edgerouter", *sorted(ROOT.glob("plugins/*/src/*_*/"))]


def start(*, pytest: bool = False) -> None:
    """Measure what is imported from now on; with `pytest`, also where that rewrites assertions."""
    if target() is None:
        return
    import slipcover

    matcher = slipcover.FileMatcher(sources=sources())
    if pytest:
        slipcover.wrap_pytest(probes(), matcher)
    slipcover.ImportManager(probes(), matcher).__enter__()


def clear(*, least: int = MANY) -> None:
    """Take the probes away that have reported, if these are many."""
    if sys.version_info >= (3, 12):
        return  # the interpreter takes each away as soon as it has reported
    if target() is not None and sum(map(len, probes().newly_seen.values())) >= least:
        probes().deinstrument_seen()


def forked() -> None:
    """Leave to the parent what it has seen; its probes stay, since taking them away takes longer than most commands."""
    if target() is not None:
        probes().newly_seen.clear()
        probes().all_seen.clear()


def write() -> None:
    """Write the lines that this process has executed."""
    folder = target()
    if folder is None:
        return
    seen: dict[str, set[int]] = defaultdict(set)
    for lines in (probes().all_seen, probes().newly_seen):
        for file, numbers in lines.items():
            seen[file] |= numbers
    written = folder / f"{os.getpid()}-{time.monotonic_ns()}"
    written.write_text(json.dumps({file: sorted(numbers) for file, numbers in seen.items()}))


def learn(pid: int) -> None:
    """Take the probes away that have reported in a forked process, so that the next one is forked without them."""
    folder = target()
    if folder is None:
        return
    for written in folder.glob(f"{pid}-*"):
        for file, numbers in json.loads(written.read_text()).items():
            probes().newly_seen[file] |= set(numbers) - probes().all_seen[file]
    clear()


def room_of(file: Path) -> str:
    """Return the name of the package or plugin of a module."""
    [source] = (source for source in sources() if file.is_relative_to(source))
    inner = file.relative_to(source).parts
    return f"{source.name}.{inner[0]}" if len(inner) > 1 else source.name


def show(folder: Path) -> None:
    """Print a line for each room, and one for each file of which little was executed."""
    executed: dict[Path, set[int]] = defaultdict(set)
    for written in folder.iterdir():
        for file, numbers in json.loads(written.read_text()).items():
            executed[Path(file)] |= set(numbers)
    rooms: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    low = []
    for file in sorted(each for source in sources() for each in source.rglob("*.py")):
        lines = set(probes().lines_from_code(compile(file.read_text(), str(file), "exec")))
        seen = len(lines & executed[file])
        for room in (room_of(file), "all"):
            rooms[room][0] += seen
            rooms[room][1] += len(lines)
        if lines and 100 * seen < LOW * len(lines):
            low.append(f"{100 * seen / len(lines):6.1f}  {file.relative_to(ROOT)}")
    print("\nLines executed by these tests, in percent (not measured: processes that were killed, and new interpreters)\n")
    for room, (seen, lines_of_room) in sorted(rooms.items()):
        print(f"{100 * seen / max(lines_of_room, 1):6.1f}  {room}")
    if low:
        print(f"\nFiles below {LOW} %\n", *low, sep="\n")


if __name__ == "__main__":
    show(Path(sys.argv[1]))
