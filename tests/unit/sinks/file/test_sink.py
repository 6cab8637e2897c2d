"""The file sink: rotation, permissions, refusals, and its errors when the file system refuses.

Covers also: edgerouter.folder, edgerouter.sinks.file.config, edgerouter.sinks.file.rotation.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import Message, Rejected, SinkContext, Unavailable
from edgerouter.objects import encode
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.sink import FileSink
from edgerouter.testing import make_message, make_messages

CONTEXT = SinkContext("files", "edge-1", "5p00l")


@asynccontextmanager
async def opened(path: Path, **config: Any) -> AsyncIterator[FileSink]:
    async with FileSink.open(FileConfig.model_validate({"path": path, **config}), CONTEXT) as sink:
        yield sink


def numbered(*sequences: int, payload: bytes = b"1") -> list[Message]:
    return [make_message(payload, sequence=sequence) for sequence in sequences]


def ids_in(path: Path) -> list[int]:
    content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    return [int(json.loads(line)["id"].partition("-")[2]) for line in content.splitlines()]


def visible(path: Path) -> list[str]:
    return sorted(file.name for file in path.iterdir() if not file.name.startswith("."))


async def eventually(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():
            await asyncio.sleep(0.01)


async def test_a_new_file_begins_before_the_old_one_would_grow_too_large(tmp_path: Path) -> None:
    async with opened(tmp_path, rotate={"size": 300}) as sink:
        for sequence in range(1, 8):
            await sink.write(numbered(sequence))

    assert visible(tmp_path) == ["messages-000001.jsonl", "messages-000002.jsonl", "messages-000003.jsonl", "messages.jsonl"]
    assert [number for name in visible(tmp_path) for number in ids_in(tmp_path / name)] == list(range(1, 8))
    assert all((tmp_path / name).stat().st_size <= 300 for name in visible(tmp_path))


async def test_a_file_is_rotated_by_age_even_when_nothing_comes(tmp_path: Path) -> None:
    async with opened(tmp_path, rotate={"age": "50ms"}) as sink:
        await sink.write(numbered(1))
        await eventually(lambda: visible(tmp_path) == ["messages-000001.jsonl", "messages.jsonl"])
        assert ids_in(tmp_path / "messages.jsonl") == []


async def test_the_age_of_a_file_counts_on_over_a_restart(tmp_path: Path) -> None:
    async with opened(tmp_path) as sink:
        await sink.write(numbered(1))
    (tmp_path / ".messages.jsonl.lock").write_bytes(b"%020d" % 1_000_000_000)

    async with opened(tmp_path, rotate={"age": "1h"}) as sink:
        await sink.write(numbered(2))
    assert ids_in(tmp_path / "messages-000001.jsonl") == [1]


@pytest.mark.parametrize(("compression", "suffix"), [("gzip", ".gz"), ("zstd", ".zst")])
async def test_rotated_files_are_compressed_in_the_background(tmp_path: Path, compression: str, suffix: str) -> None:
    async with opened(tmp_path, rotate={"size": 200}, compression=compression) as sink:
        await sink.write(numbered(1))
        await sink.write(numbered(2))
        await eventually(lambda: visible(tmp_path) == ["messages-000001.jsonl" + suffix, "messages.jsonl"])
    if compression == "gzip":
        assert ids_in(tmp_path / "messages-000001.jsonl.gz") == [1]


async def test_compression_that_a_crash_cut_short_is_done_after_the_next_start(tmp_path: Path) -> None:
    plain = encode(numbered(1), "jsonl")
    (tmp_path / "messages-000001.jsonl").write_bytes(plain)
    (tmp_path / ".messages-000001.jsonl.compressing").write_bytes(b"\x1f\x8b half")
    (tmp_path / "messages-000002.jsonl").write_bytes(plain)
    (tmp_path / "messages-000002.jsonl.gz").write_bytes(gzip.compress(plain))

    async with opened(tmp_path, compression="gzip"):
        await eventually(lambda: visible(tmp_path) == ["messages-000001.jsonl.gz", "messages-000002.jsonl.gz", "messages.jsonl"])
    assert ids_in(tmp_path / "messages-000001.jsonl.gz") == [1]


@pytest.mark.parametrize("keep", [{"files": 2}, {"bytes": 300}])
async def test_the_oldest_rotated_files_go_when_there_are_too_many(tmp_path: Path, keep: dict[str, int]) -> None:
    (tmp_path / "messages-of-somebody-else.jsonl").write_bytes(b"")
    async with opened(tmp_path, rotate={"size": 200}, keep=keep) as sink:
        for sequence in range(1, 7):
            await sink.write(numbered(sequence))
        left = ["messages-000004.jsonl", "messages-000005.jsonl", "messages-of-somebody-else.jsonl", "messages.jsonl"]
        await eventually(lambda: visible(tmp_path) == left)


async def test_a_file_that_was_moved_away_is_started_again(tmp_path: Path) -> None:
    for once in (False, True):
        folder = tmp_path / str(once)
        async with opened(folder, once=once) as sink:
            await sink.write(numbered(1))
            (folder / "messages.jsonl").rename(folder / "taken.jsonl")
            await sink.write(numbered(2))
            assert ids_in(folder / "taken.jsonl") == [1]
            assert ids_in(folder / "messages.jsonl") == [2]


async def test_the_data_is_on_disk_after_a_while_with_fsync_interval(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced = threading.Event()
    real = os.fdatasync

    def sync(fd: int) -> None:
        real(fd)
        synced.set()

    monkeypatch.setattr("edgerouter.sinks.file.growing.sync_data", sync)
    async with opened(tmp_path, fsync="interval", fsync_interval="50ms") as sink:
        await sink.write(numbered(1))
        await eventually(synced.is_set)


async def test_two_sinks_do_not_write_one_file(tmp_path: Path) -> None:
    async with opened(tmp_path) as first:
        with pytest.raises(Unavailable, match="another sink or router writes it"):
            async with opened(tmp_path):
                pass
        async with opened(tmp_path, file="other.jsonl") as second:
            await second.write(numbered(1))
        await first.write(numbered(1))


async def test_objects_and_folders_have_the_permissions_asked_for(tmp_path: Path) -> None:
    async with opened(tmp_path / "deep" / "data", key="{topic}/{id}", framing="payload", mode="0644") as sink:
        await sink.write(numbered(1))
    assert stat.S_IMODE((tmp_path / "deep/data/plant/line-1/temperature/5p00l-1").stat().st_mode) == 0o644

    async with opened(tmp_path, mode="0600") as sink:
        await sink.write(numbered(1))
    assert stat.S_IMODE((tmp_path / "messages.jsonl").stat().st_mode) == 0o600


async def test_no_link_leads_out_of_the_folder(tmp_path: Path) -> None:
    """Another user with write access to the folder cannot make the router write elsewhere."""
    outside, data = tmp_path / "outside", tmp_path / "data"
    outside.mkdir()
    data.mkdir()
    (data / "plant").symlink_to(outside)
    (data / "messages.jsonl").symlink_to(outside / "file")

    async with opened(data, key="{topic}/{id}") as sink:
        with pytest.raises(Unavailable, match="symbolic link"):
            await sink.write(numbered(1))
    with pytest.raises(Unavailable, match=r"messages\.jsonl"):
        async with opened(data):
            pass
    assert list(outside.iterdir()) == []


async def test_a_topic_whose_path_is_a_file_is_rejected_and_blocks_no_other(tmp_path: Path) -> None:
    async with opened(tmp_path, key="{topic}/{id}", framing="payload") as sink:
        first = make_message(topic="a", sequence=1)
        below = make_message(topic="a/5p00l-1/b", sequence=2)
        other = make_message(topic="c", sequence=3)
        failures = (await sink.write([first, below, other])).failed

    assert [failure.index for failure in failures] == [1]
    assert isinstance(failures[0].error, Rejected)
    assert (tmp_path / "c/5p00l-3").read_bytes() == b"21.5"


@pytest.mark.parametrize("config", [{}, {"key": "{id}"}, {"once": True}])
async def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path, config: dict[str, Any]) -> None:
    (tmp_path / "file").write_bytes(b"")

    with pytest.raises(Unavailable, match=f"cannot write into the folder {tmp_path}/file/data: Not a directory"):
        async with opened(tmp_path / "file" / "data", **config):
            pass


async def test_the_router_knows_which_sinks_need_stable_batches(tmp_path: Path) -> None:
    """An object of one message is the same at each retry, whatever its batch is."""
    single = {"key": "{id}", "framing": "payload"}
    expected: list[tuple[dict[str, Any], bool]] = [({}, False), ({"once": True}, True), ({"key": "{id}"}, True), (single, False)]
    for number, (config, stable) in enumerate(expected):
        async with opened(tmp_path / str(number), **config) as sink:
            assert sink.stable_batches is stable


async def test_objects_are_partitioned_by_what_their_key_shows(tmp_path: Path) -> None:
    one, other = make_message(topic="a"), make_message(topic="b")
    async with opened(tmp_path, key="{topic}/{id}") as sink:
        assert sink.partition_of(one) != sink.partition_of(other)
    async with opened(tmp_path) as sink:
        assert sink.partition_of(one) == sink.partition_of(other)
        assert sink.size_of(one) == len(encode([one], "jsonl"))


async def test_a_write_that_was_cancelled_does_not_mix_with_the_next_one(tmp_path: Path) -> None:
    big = make_messages([b'"%s"' % (b"x" * 1000)] * 3000)
    async with opened(tmp_path) as sink:
        first = asyncio.create_task(sink.write(big))
        await asyncio.sleep(0)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        await sink.write(numbered(9001, 9002))

    ids = ids_in(tmp_path / "messages.jsonl")
    assert ids[-2:] == [9001, 9002]
    assert ids[:-2] in ([], list(range(1, 3001)))


@pytest.mark.parametrize("written", [640, "640", "0640", "0o640"])
def test_the_digits_of_a_mode_are_octal_however_they_are_written(written: int | str) -> None:
    assert FileConfig.model_validate({"path": "/data", "mode": written}).mode == 0o640


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"framing": "payload"}, "needs `key`"),
        ({"framing": "length-prefixed"}, "needs `once: true`"),
        ({"once": True, "fsync": "never"}, "needs `fsync: batch`"),
        ({"key": "{id}", "fsync": "interval"}, "choose batch or never"),
        ({"key": "{idd}"}, r"did you mean \{id\}"),
        ({"file": "../x"}, "not a file name"),
        ({"file": ".x"}, "not a file name"),
        ({"path": ""}, "is empty"),
        ({"path": "~/data"}, "is not expanded"),
        ({"path": "a\0b"}, "no NUL"),
        ({"path": "/dev/null"}, "is not a folder"),
        ({"mode": "rw"}, "not file permissions"),
        ({"mode": 648}, "not file permissions"),
        ({"rotate": {"sice": 1}}, "sice"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_with_the_reason(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        FileConfig.model_validate({"path": "/data", **config})
