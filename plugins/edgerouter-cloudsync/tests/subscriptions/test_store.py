"""Subscriptions and values are on disk, and a damaged file keeps nothing down."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter import Unavailable
from edgerouter_cloudsync.subscriptions.store import FILE, Latest, Store, Subscription

ONE, TWO = Subscription("a", "t/#", "app"), Subscription("a", "u", "app")


async def test_what_is_written_is_there_again_in_the_order_of_its_arrival(tmp_path: Path) -> None:
    store = await Store.open(tmp_path / "state")
    for each in (ONE, TWO, ONE):
        await store.subscribe(each)
    await store.unsubscribe([TWO])
    await store.write([Latest("a", "t/2", b"\xff", 2), Latest("a", "t/1", b"", 1), Latest("a", "t/3", b"x", 3)], [])
    await store.write([Latest("a", "t/1", b"new", 4)], [("a", "t/3")])
    await store.close()
    store = await Store.open(tmp_path / "state")
    assert await store.read() == ([ONE], [Latest("a", "t/2", b"\xff", 2), Latest("a", "t/1", b"new", 4)])
    await store.close()
    assert (tmp_path / "state" / FILE).stat().st_mode & 0o777 == 0o640


async def test_a_damaged_file_is_put_aside(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(b"nonsense" * 1000)
    store = await Store.open(tmp_path)
    assert await store.read() == ([], [])
    await store.close()
    assert (tmp_path / f"{FILE}.damaged").exists()


async def test_without_a_folder_nothing_is_kept_and_a_folder_that_cannot_be_made_is_reported(tmp_path: Path) -> None:
    store = await Store.open(None)
    await store.subscribe(ONE)
    assert await store.read() == ([], [])
    await store.close()
    (tmp_path / "file").touch()
    with pytest.raises(Unavailable, match="cannot be opened"):
        await Store.open(tmp_path / "file" / "state")


async def test_a_write_that_fails_is_reported(tmp_path: Path) -> None:
    store = await Store.open(tmp_path)
    await store.close()
    with pytest.raises(Unavailable, match="cannot be written"):
        await store.subscribe(ONE)
