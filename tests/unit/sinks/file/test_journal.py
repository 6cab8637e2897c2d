"""The file sink under faults: whatever fails, its files hold every message, and in `once` mode exactly once.

Covers also: edgerouter.sinks.file.growing, edgerouter.sinks.file.objects.
"""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from edgerouter import DELIVERED, Message, SinkContext, Unavailable
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.growing import GrowingFile
from edgerouter.sinks.file.objects import ObjectWriter
from edgerouter.sinks.file.rotation import RotatedFiles
from support.faulty_files import Crash, fault

NAMES = SinkContext("files", "edge-1", "5p00l")
BATCHES = [range(1, 4), range(4, 6), range(6, 7), range(7, 12), range(12, 14)]


def batch_of(numbers: Sequence[int]) -> list[Message]:
    return [
        Message("plant/line", b'{"n":%d}' % number, 1_795_168_800 * 10**9, 1, False, None, "5p00l", number) for number in numbers
    ]


@contextmanager
def growing(path: Path, **config: Any) -> Iterator[GrowingFile]:
    model = FileConfig.model_validate({"path": path, **config})
    rotated = RotatedFiles(path, model.file, "none", model.keep, model.mode)
    file = GrowingFile(model, rotated, abandoned=lambda: False, rotated=rotated.tidy)
    try:
        yield file
    finally:
        file.close()


@contextmanager
def objects(path: Path, **config: Any) -> Iterator[ObjectWriter]:
    writer = ObjectWriter(FileConfig.model_validate({"path": path, "key": "{topic}/{id}.jsonl", **config}), NAMES)
    try:
        yield writer
    finally:
        writer.close()


def numbers_in(path: Path) -> list[int]:
    """Return all messages in all files, in the order of the files; each line must be whole."""
    files = sorted((file for file in path.rglob("*.jsonl") if not file.name.startswith(".")), key=first_number)
    return [json.loads(line)["payload"]["n"] for file in files for line in file.read_bytes().splitlines()]


def first_number(file: Path) -> float:
    """Return 12 for `messages-000012.jsonl`, 3 for `5p00l-3-7.jsonl`, infinity for the growing file."""
    parts = file.stem.split("-")
    return float(parts[1]) if len(parts) > 1 else float("inf")


ONCE: dict[str, Any] = {"once": True, "rotate": {"size": 400}}
FORMS: dict[str, tuple[Callable[..., Any], dict[str, Any]]] = {
    "growing once": (growing, ONCE),
    "objects": (objects, {}),
}


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("resent", [0, 1, 5])
def test_a_crash_at_any_call_leaves_every_message_exactly_once(tmp_path: Path, form: str, resent: int) -> None:
    """The router repeats, in the same batches, the messages that it does not know to be settled."""
    opened, config = FORMS[form]
    for at in range(1, 500):
        path = tmp_path / str(at)
        done = 0
        with fault(at, Crash()) as faults, suppress(Crash), opened(path, **config) as file:
            for numbers in BATCHES:
                file.write(batch_of(numbers))
                done += 1

        with opened(path, **config) as file:
            for numbers in BATCHES[max(done - resent, 0) :]:
                file.write(batch_of(numbers))

        assert numbers_in(path) == list(range(1, 14)), f"crash at call {at}"
        if not faults.happened:
            return
    pytest.fail("never ran to its end")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EIO, errno.EACCES])
@pytest.mark.parametrize("form", [*FORMS, "growing"])
def test_an_error_at_any_call_loses_and_doubles_nothing(tmp_path: Path, form: str, code: int) -> None:
    """A partial append is undone, so even a plain file has neither a duplicate nor a torn line."""
    opened, config = FORMS.get(form, (growing, {"rotate": {"size": 400}}))
    for at in range(1, 500):
        path = tmp_path / str(at)
        left = [batch_of(numbers) for numbers in BATCHES]
        with fault(at, OSError(code, os.strerror(code))) as faults:
            for _ in range(2):  # an error in opening or in the last sync needs a second opening, as the router does
                with suppress(Unavailable), opened(path, **config) as file:
                    while left:
                        with suppress(Unavailable):
                            assert file.write(left[0]) == DELIVERED
                            left.pop(0)

        assert numbers_in(path) == list(range(1, 14)), f"error at call {at}"
        if not faults.happened:
            return
    pytest.fail("never ran to its end")


def test_a_torn_line_in_plain_mode_does_not_stay_among_the_whole_ones(tmp_path: Path) -> None:
    """Its batch was not settled before the crash, so it is written again."""
    (tmp_path / "messages.jsonl").write_bytes(b'{"whole":1}\n{"to' + b"r" * 200_000)
    with growing(tmp_path) as file:
        file.write(batch_of([1]))

    lines = (tmp_path / "messages.jsonl").read_bytes().splitlines()
    assert (lines[0], len(lines)) == (b'{"whole":1}', 2)
    assert json.loads(lines[1])["payload"] == {"n": 1}


def test_a_last_line_that_only_lacks_its_end_is_kept(tmp_path: Path) -> None:
    (tmp_path / "messages.jsonl").write_bytes(b'{"whole":1}')
    with growing(tmp_path) as file:
        file.write(batch_of([1]))

    assert (tmp_path / "messages.jsonl").read_bytes().splitlines()[0] == b'{"whole":1}'


def test_a_file_that_was_there_before_once_mode_is_kept(tmp_path: Path) -> None:
    with growing(tmp_path) as file:
        file.write(batch_of([1]))
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([2]))
    with growing(tmp_path) as file:
        file.write(batch_of([3]))
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([4]))

    assert numbers_in(tmp_path) == [1, 2, 3, 4]


def test_a_batch_that_was_cut_off_is_written_again(tmp_path: Path) -> None:
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([1]))
    # restoring a copy undoes the changes that close made to the journal: the crash came right after the write
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([2, 3]))
        os.truncate(tmp_path / "messages.jsonl", (tmp_path / "messages.jsonl").stat().st_size - 5)
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([2, 3]))

    assert numbers_in(tmp_path) == [1, 2, 3]


def test_a_torn_journal_costs_nothing(tmp_path: Path) -> None:
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([1]))
    with (tmp_path / ".messages.jsonl.journal").open("ab") as journal:
        journal.write(b'["Appended","5p00l",2,')
    with growing(tmp_path, once=True) as file:
        file.write(batch_of([1]))
        file.write(batch_of([2]))

    assert numbers_in(tmp_path) == [1, 2]


def test_the_journal_stays_small_and_remembers_what_may_come_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edgerouter.sinks.file.journal.REMEMBERED", 10)
    with growing(tmp_path, once=True, mode="0600") as file:
        for number in range(1, 101):
            file.write(batch_of([number]))
    journal = tmp_path / ".messages.jsonl.journal"
    assert len(journal.read_bytes().splitlines()) <= 32

    with growing(tmp_path, once=True) as file:
        for number in range(95, 103):
            file.write(batch_of([number]))
    assert numbers_in(tmp_path) == list(range(1, 103))


def test_an_abandoned_write_is_undone(tmp_path: Path) -> None:
    """The router writes it again; without the undo a plain file would hold it twice."""
    model = FileConfig(path=tmp_path)
    abandoned = True
    file = GrowingFile(
        model, RotatedFiles(tmp_path, model.file, "none", model.keep, model.mode), abandoned=lambda: abandoned, rotated=lambda: None
    )
    file.write(batch_of([1]))
    abandoned = False
    file.write(batch_of([1]))
    file.close()

    assert numbers_in(tmp_path) == [1]


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting a small file system needs root")
@pytest.mark.parametrize("form", [*FORMS, "growing"])
def test_a_full_disk_is_waited_out(tmp_path: Path, form: str) -> None:
    opened, config = FORMS.get(form, (growing, {}))
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=128k", "none", disk], check=False, capture_output=True).returncode:
        pytest.skip("no mounting here")
    try:
        blocker = disk / "blocker"
        blocker.write_bytes(bytes(60 * 1024))
        done = 0
        with opened(disk / "data", **config) as file:
            with pytest.raises(Unavailable, match="No space left on device"):  # noqa: PT012  (one of many writes fails)
                for number in range(1, 10_000):
                    file.write(batch_of([number]))
                    done = number
            blocker.unlink()
            for number in range(done + 1, done + 10):
                file.write(batch_of([number]))
        assert numbers_in(disk) == list(range(1, done + 10))
    finally:
        subprocess.run(["umount", disk], check=True)


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = {paths!r}
from test_journal import batch_of, growing
folder, first = Path(sys.argv[1]), int(sys.argv[2])
with growing(folder, once=True, rotate={{"size": 20_000}}) as file:
    for number in range(first, 1_000_000):
        file.write(batch_of(range(number * 7, number * 7 + 7)))
        print(number, flush=True)
"""


def test_kill_9_under_load_leaves_every_message_exactly_once(tmp_path: Path) -> None:
    """Kills a process that writes batch after batch at random moments, and restarts it with its last batches."""
    script = WRITER.format(paths=[str(Path(__file__).parent), str(Path(__file__).parents[3])])
    folder = tmp_path / "data"
    first, chosen = 0, random.Random(7)
    for _ in range(6):
        with subprocess.Popen([sys.executable, "-c", script, folder, str(first)], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            for _ in range(chosen.randint(1, 300)):
                told = process.stdout.readline()
            process.send_signal(signal.SIGKILL)
            told = ([told, *process.stdout.readlines()])[-1]
        first = max(int(told) - chosen.randint(0, 3), 0)  # the last ones were not settled on the router's disk

    with growing(folder, once=True) as file:
        for number in range(first, first + 10):
            file.write(batch_of(range(number * 7, number * 7 + 7)))
    found = numbers_in(folder)
    assert found == list(range(len(found)))
