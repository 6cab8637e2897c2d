"""The spool's folder is for the router alone: others read nothing in it, and no link that they plant is followed.

Covers also: edgerouter.private_files.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from edgerouter.errors import SpoolUnusable
from edgerouter.sources.mqtt.state import SessionState, write_session
from edgerouter.spool import open_spool
from edgerouter.spool.folder import locked_folder
from support.spools import Pipe, fresh, route, sqlite, take


@pytest.fixture(autouse=True)
def world_readable() -> object:
    """As most systems have it."""
    before = os.umask(0o022)
    yield
    os.umask(before)


def loose(folder: Path) -> dict[str, str]:
    """Return the files of a folder that others may read, or the group may write."""
    modes = {path: stat.S_IMODE(path.lstat().st_mode) for path in (folder, *folder.rglob("*"))}
    return {str(path): f"{mode:o}" for path, mode in modes.items() if mode & 0o027}


async def run_once(folder: Path) -> None:
    async with open_spool(sqlite(folder)) as spool:
        pipe = Pipe(spool)
        (reader,) = await pipe.attach(route("sink"))
        await pipe.append(fresh(10))
        write_session(folder / "sources" / "local", SessionState("broker", "client"))
        reader.delivered(await take(reader, 10))
        await spool.flush()
        assert (folder / "spool.db-wal").exists()
        assert (folder / "spool.reserve").exists()
        assert loose(folder) == {}


async def test_no_other_user_reads_the_spools_folder(tmp_path: Path) -> None:
    await run_once(tmp_path / "spool")
    assert loose(tmp_path / "spool") == {}


def loosen(folder: Path) -> Path:
    """Make it as an earlier version did, with a file sink's folder in it."""
    others = folder / "archive"
    others.mkdir(mode=0o755)
    (others / "messages.jsonl").touch(mode=0o644)
    for path in (*folder.glob("spool.*"), *folder.glob("sources/*/*")):
        path.chmod(0o644)
    for path in (folder, folder / "sources", folder / "sources" / "local"):
        path.chmod(0o755)
    return others


async def test_a_folder_of_an_earlier_version_is_closed_at_the_start(tmp_path: Path) -> None:
    folder = tmp_path / "spool"
    await run_once(folder)
    others = loosen(folder)
    await run_once_again(folder)
    assert loose(folder) == {str(others): "755", str(others / "messages.jsonl"): "644"}, "what a file sink writes keeps its mode"


async def run_once_again(folder: Path) -> None:
    async with open_spool(sqlite(folder)):
        pass


@pytest.mark.parametrize("mode", [0o777, 0o1777, 0o757])
def test_a_world_writable_spool_folder_is_refused(tmp_path: Path, mode: int) -> None:
    tmp_path.chmod(mode)
    with pytest.raises(SpoolUnusable, match=r"the folder is world-writable .*chmod o-w"), locked_folder(tmp_path):
        pass


def plant(link: Path, victim: Path) -> None:
    """Links that another user could have planted while the folder was open to all."""
    link.parent.mkdir(parents=True)
    victim.write_bytes(b"precious")
    link.symlink_to(victim)


@pytest.mark.parametrize("name", ["spool.lock", "spool.db", "spool.db-wal"])
async def test_a_planted_link_is_not_followed(tmp_path: Path, name: str) -> None:
    folder, victim = tmp_path / "spool", tmp_path / "victim"
    plant(folder / name, victim)
    with pytest.raises(SpoolUnusable, match=r"a symbolic link, which is not followed: remove it"):
        await run_once_again(folder)
    assert victim.read_bytes() == b"precious"


@pytest.mark.parametrize(
    "name", ["spool.mark", "spool.reserve", "spool.machine", "spool.machine.new", "sources/local/session.json.new"]
)
async def test_a_planted_link_that_is_in_nobodys_way_is_not_written_through(tmp_path: Path, name: str) -> None:
    folder, victim = tmp_path / "spool", tmp_path / "victim"
    plant(folder / name, victim)
    async with open_spool(sqlite(folder)) as spool:
        await Pipe(spool).append(fresh(10))
        write_session(folder / "sources" / "local", SessionState("broker", "client"))
    assert victim.read_bytes() == b"precious"
