"""The demo's final report is read back from the files."""

from __future__ import annotations

import json
from pathlib import Path

from edgerouter.demo.stored import Stored, compare


def write(folder: Path, *messages: tuple[str, int], name: str = "messages.jsonl") -> None:
    lines = [json.dumps({"id": f"s-{n}", "topic": topic, "payload": {"n": n, "value": 1.5}}) for topic, n in messages]
    (folder / name).write_text("".join(f"{line}\n" for line in lines))


def test_everything_sent_is_stored(tmp_path: Path) -> None:
    write(tmp_path, ("a", 1), ("a", 2), ("b", 1))
    assert compare(tmp_path, {"a": 2, "b": 1}) == Stored(sent=3, stored=3, duplicates=0, missing=0)


def test_a_missing_message_is_not_made_up_for_by_a_duplicate(tmp_path: Path) -> None:
    write(tmp_path, ("a", 1), ("a", 1), ("b", 1))
    assert compare(tmp_path, {"a": 2, "b": 1}) == Stored(sent=3, stored=2, duplicates=1, missing=1)


def test_a_topic_that_is_not_in_the_files_is_missing(tmp_path: Path) -> None:
    write(tmp_path, ("a", 1))
    assert compare(tmp_path, {"a": 1, "b": 3}).missing == 3


def test_files_that_were_rotated_count_too(tmp_path: Path) -> None:
    write(tmp_path, ("a", 1), name="messages-1.jsonl")
    write(tmp_path, ("a", 2))
    assert compare(tmp_path, {"a": 2}) == Stored(sent=2, stored=2, duplicates=0, missing=0)


def test_a_folder_without_files_holds_nothing(tmp_path: Path) -> None:
    assert compare(tmp_path / "none", {"a": 1}) == Stored(sent=1, stored=0, duplicates=0, missing=1)
