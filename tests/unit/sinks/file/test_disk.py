"""Another user with write access to a file sink's folder cannot make it read, overwrite or wait for anything else."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

from edgerouter import Message, SinkContext, Unavailable
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.rotation import RotatedFiles
from edgerouter.sinks.file.sink import FileSink
from edgerouter.testing import make_message

CONTEXT = SinkContext("files", "edge-1", "5p00l")
PATIENCE = 60
SECRET = b"a file of another user\n"


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    path = tmp_path / "victim"
    path.write_bytes(SECRET)
    return path


async def write(folder: Path, *messages: Message, **config: Any) -> None:
    model = FileConfig.model_validate({"path": folder, **config})
    async with asyncio.timeout(PATIENCE), FileSink.open(model, CONTEXT) as sink:
        for message in messages:
            await sink.write([message])


def packed(folder: Path) -> None:
    """Run at once the work that follows a rotation."""
    config = FileConfig(path=folder)
    RotatedFiles(folder, config.file, "gzip", config.keep, config.mode).tidy()


def link(planted: Path, victim: Path) -> None:
    planted.symlink_to(victim)


def hard_link(planted: Path, victim: Path) -> None:
    os.link(victim, planted)


def assert_untouched(victim: Path) -> None:
    assert victim.read_bytes() == SECRET


kinds = pytest.mark.parametrize("plant", [link, hard_link])


@kinds
def test_packing_does_not_overwrite_through_its_temporary_file(victim: Path, plant: Callable[[Path, Path], None]) -> None:
    data = victim.parent / "data"
    (data / "messages-000001.jsonl").write_bytes(b"1\n")
    plant(data / ".messages-000001.jsonl.compressing", victim)

    packed(data)

    assert_untouched(victim)
    assert (data / "messages-000001.jsonl.gz").exists()
    assert not (data / "messages-000001.jsonl.gz").is_symlink()


def test_packing_does_not_read_through_a_link(victim: Path) -> None:
    data = victim.parent / "data"
    (data / "messages-000001.jsonl").symlink_to(victim)
    (data / "messages-000002.jsonl").write_bytes(b"2\n")

    packed(data)

    assert victim.exists()
    assert sorted(path.name for path in data.iterdir()) == ["messages-000001.jsonl", "messages-000002.jsonl.gz"]


def test_packing_does_not_wait_for_a_pipe(victim: Path) -> None:
    data = victim.parent / "data"
    os.mkfifo(data / "messages-000001.jsonl")
    (data / "messages-000002.jsonl").write_bytes(b"2\n")
    packed(data)
    assert (data / "messages-000002.jsonl.gz").exists()


async def test_rotation_passes_over_a_name_that_is_taken(victim: Path) -> None:
    data = victim.parent / "data"
    (data / "messages-000001.jsonl").symlink_to(victim)
    await write(data, make_message(sequence=1), make_message(sequence=2), rotate={"size": 1})
    assert (data / "messages-000001.jsonl").is_symlink()
    assert (data / "messages-000002.jsonl").exists()
    assert_untouched(victim)


@kinds
async def test_the_journal_is_not_written_through_its_temporary_file(victim: Path, plant: Callable[[Path, Path], None]) -> None:
    data = victim.parent / "data"
    plant(data / ".messages.jsonl.journal.new", victim)
    await write(data, make_message(), once=True)
    assert_untouched(victim)
    assert not (data / ".messages.jsonl.journal").is_symlink()
    assert (data / ".messages.jsonl.journal").stat().st_nlink == 1


def temporary_of(name: str) -> str:
    return ".%new-" + sha256(name.encode()).hexdigest()[:32]


@kinds
async def test_an_object_is_not_written_through_its_temporary_file(victim: Path, plant: Callable[[Path, Path], None]) -> None:
    data = victim.parent / "data"
    plant(data / temporary_of("5p00l-1"), victim)
    await write(data, make_message(b"mine"), key="{id}", framing="payload")
    assert_untouched(victim)
    assert (data / "5p00l-1").read_bytes() == b"mine"
    assert (data / "5p00l-1").stat().st_nlink == 1


@pytest.mark.parametrize("name", ["messages.jsonl", ".messages.jsonl.lock", ".messages.jsonl.journal"])
@pytest.mark.parametrize("plant", [link, lambda planted, _: os.mkfifo(planted)], ids=["link", "pipe"])
async def test_what_stands_in_a_files_place_is_said_and_not_used(
    victim: Path, plant: Callable[[Path, Path], None], name: str
) -> None:
    data = victim.parent / "data"
    plant(data / name, victim)
    with pytest.raises(Unavailable, match=r"a symbolic link|not a regular file"):
        await write(data, make_message(), once=True)
    assert_untouched(victim)


async def test_no_topic_names_the_temporary_file_of_another_object(tmp_path: Path) -> None:
    """A control character is escaped as `%` and two digits, and names of temporary files used to begin like that.

    A folder of that name caused a good message to be dead-lettered.
    """
    digests = {sequence: sha256(f"5p00l-{sequence}".encode()).hexdigest()[:32] for sequence in range(2, 1000)}
    sequence, digest = next((n, digest) for n, digest in digests.items() if digest[0] in "01" and digest[1].isdecimal())
    evil = make_message(topic="plant/." + chr(int(digest[:2], 16)) + digest[2:], sequence=1)
    good = make_message(b"good", topic="plant", sequence=sequence)

    await write(tmp_path, evil, good, key="{topic}/{id}", framing="payload")

    assert (tmp_path / "plant" / good.id).read_bytes() == b"good"


# Looking, beside a sink that writes


def files_in(folder: Path) -> dict[Path, tuple[int, int, int]]:
    """Return inode, size and time of every file."""
    stats = {path: path.stat() for path in folder.rglob("*") if path.is_file()}
    return {path: (stat.st_ino, stat.st_size, stat.st_mtime_ns) for path, stat in stats.items()}


@pytest.mark.parametrize("config", [{}, {"once": True}, {"key": "{topic}/{id}"}])
async def test_a_look_beside_a_running_sink_succeeds_and_leaves_everything_as_it_is(tmp_path: Path, config: dict[str, Any]) -> None:
    model = FileConfig.model_validate({"path": tmp_path / "data", **config})
    async with FileSink.open(model, CONTEXT) as running:
        await running.write([make_message(sequence=1)])
        before = files_in(tmp_path)

        async with FileSink.open(model, SinkContext("files", "edge-1", "check", probe=True)) as looking:
            with pytest.raises(Unavailable, match="only to probe"):
                await looking.write([make_message()])

        assert files_in(tmp_path) == before
        await running.write([make_message(sequence=2)])


async def test_a_look_makes_no_folder_and_says_what_is_wrong(tmp_path: Path) -> None:
    probe = SinkContext("files", "edge-1", "check", probe=True)
    async with FileSink.open(FileConfig(path=tmp_path / "data" / "deep"), probe):
        pass
    assert not (tmp_path / "data").exists()

    (tmp_path / "messages.jsonl").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(Unavailable, match="symbolic link"):
        async with FileSink.open(FileConfig(path=tmp_path), probe):
            pass
