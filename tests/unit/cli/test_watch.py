"""A changed configuration file is noticed, however it was changed."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgerouter.cli.watch import watch
from edgerouter.config.file_search import Fingerprint, fingerprint


@asynccontextmanager
async def watching(
    file: Path, seen: Fingerprint | None, hang_up: asyncio.Event | None = None
) -> AsyncIterator[asyncio.Queue[str | None]]:
    """Counts the changes that are noticed."""
    noticed: asyncio.Queue[str | None] = asyncio.Queue()

    async def changed() -> None:
        noticed.put_nowait(file.read_text() if file.exists() else None)

    task = asyncio.create_task(watch(file, seen, hang_up or asyncio.Event(), changed, look_seconds=0.01))
    try:
        yield noticed
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def written(file: Path) -> None:
    file.write_text("two")


def renamed(file: Path) -> None:
    new = file.with_name("new")
    new.write_text("two")
    new.rename(file)


def same_size_and_time(file: Path) -> None:
    """As `cp --preserve` and restored backups do."""
    times = file.stat()
    file.write_text("two")
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


@pytest.mark.parametrize("change", [written, renamed, same_size_and_time])
async def test_another_content_is_noticed(tmp_path: Path, change: Callable[[Path], None]) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text("one")
    async with watching(file, fingerprint(file)) as noticed, asyncio.timeout(5):
        change(file)
        content = await noticed.get()
        while content != "two":  # a look may have fallen into the middle of the writing
            content = await noticed.get()


async def test_a_folder_that_is_swapped_behind_a_link_is_noticed(tmp_path: Path) -> None:
    """As Kubernetes does with a ConfigMap."""
    for version in ("one", "two"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "edgerouter.yaml").write_text(version)
    (tmp_path / "..data").symlink_to("one")
    file = tmp_path / "edgerouter.yaml"
    file.symlink_to("..data/edgerouter.yaml")
    async with watching(file, fingerprint(file)) as noticed, asyncio.timeout(5):
        (tmp_path / "..tmp").symlink_to("two")
        (tmp_path / "..tmp").rename(tmp_path / "..data")
        assert await noticed.get() == "two"


async def test_a_change_before_the_watch_began_is_noticed(tmp_path: Path) -> None:
    """A router may take a while to start; what was written meanwhile counts."""
    file = tmp_path / "edgerouter.yaml"
    file.write_text("one")
    seen = fingerprint(file)
    written(file)
    async with watching(file, seen) as noticed, asyncio.timeout(5):
        assert await noticed.get() == "two"


async def test_a_hang_up_before_the_watch_began_counts_and_many_count_once(tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text("one")
    hang_up = asyncio.Event()
    hang_up.set()
    async with watching(file, fingerprint(file), hang_up) as noticed, asyncio.timeout(5):
        await noticed.get()
        for _ in range(100):
            hang_up.set()
        await noticed.get()
        await asyncio.sleep(0.05)
        assert noticed.empty()


def test_a_thread_that_a_plugin_left_behind_does_not_keep_the_process() -> None:
    program = """
import asyncio, threading, time
from edgerouter.cli import run
run.CLOSING_SECONDS = 0.05
async def main():
    asyncio.get_running_loop().run_in_executor(None, time.sleep, 1000)
    run._end_anyway()
asyncio.run(main())
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=30, check=False)
    assert ended.returncode == 1, "0 would say that everything was closed"
    assert "keeps the process from ending" in ended.stdout + ended.stderr
    assert "asyncio_0" in ended.stdout + ended.stderr, "the thread is named"
