"""The place in a stream outlives the router, and a file that cannot be used costs nothing but repeats."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter_nats.jetstream.kept import Kept
from edgerouter_nats.jetstream.seen import Place


def test_a_later_run_knows_what_an_earlier_one_has_stored(tmp_path: Path) -> None:
    Kept(tmp_path / "in", "PLANT router").save([(1, 5), (7, 9)], 42)
    seen = Kept(tmp_path / "in", "PLANT router").load()
    assert seen.ranges == [(1, 5), (7, 9)]
    assert Place(8, 42) in seen
    assert Place(6, 42) not in seen
    assert Place(8, 43) not in seen


def test_the_file_of_another_consumer_is_ignored(tmp_path: Path) -> None:
    Kept(tmp_path, "PLANT router").save([(1, 5)], 42)
    assert Kept(tmp_path, "OTHER router").load().ranges == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"consumer": "PLANT router", "latest": "x", "ranges": []}'])
def test_a_damaged_file_is_ignored(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "stored.json").write_bytes(content)
    assert Kept(tmp_path, "PLANT router").load().ranges == []


def test_a_file_that_was_torn_by_a_power_cut_names_no_message_that_was_not_stored(tmp_path: Path) -> None:
    """Ranges that were never written as they stand there would have new messages taken for stored ones."""
    kept = Kept(tmp_path, "PLANT router")
    kept.save([(1, 5)], 42)
    whole = (tmp_path / "stored.json").read_bytes()
    (tmp_path / "stored.json").write_bytes(whole.replace(b"[1,5]", b"[1,9]"))
    assert kept.load().ranges == []


def test_without_a_folder_nothing_is_kept() -> None:
    kept = Kept(None, "PLANT router")
    kept.save([(1, 5)], 42)
    assert kept.load().ranges == []


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a file")
    Kept(tmp_path / "in", "PLANT router").save([(1, 5)], 42)


def test_the_file_holds_a_bounded_number_of_ranges(tmp_path: Path) -> None:
    Kept(tmp_path, "PLANT router").save([(number, number) for number in range(0, 50_000, 2)], 42)
    assert (tmp_path / "stored.json").stat().st_size < 32_000
