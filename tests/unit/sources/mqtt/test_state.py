"""State that a source keeps across restarts, and its behaviour when it cannot."""

from __future__ import annotations

import json
from pathlib import Path

from edgerouter import Message
from edgerouter.sources.mqtt.duplicates import RetainedPolicy
from edgerouter.sources.mqtt.in_flight import Batch
from edgerouter.sources.mqtt.state import SessionState, digest_of, read_retained, read_session, write_retained, write_session


def test_a_session_is_read_as_it_was_written(tmp_path: Path) -> None:
    state = SessionState("broker:1883", "client", subscriptions=["a/#"], ids_reused=True)
    write_session(tmp_path / "made" / "here", state)
    assert read_session(tmp_path / "made" / "here") == state


def test_a_damaged_file_is_as_good_as_none(tmp_path: Path) -> None:
    for content in ("", "{", "[]", '{"other": 1}', "\x00\xff"):
        (tmp_path / "session.json").write_text(content, encoding="latin-1")
        (tmp_path / "retained.json").write_text(content, encoding="latin-1")
        assert read_session(tmp_path) is None
        assert read_retained(tmp_path) == {}


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    write_session(blocked / "folder", SessionState("broker", "client"))
    write_retained(blocked / "folder", {})
    assert read_session(blocked / "folder") is None


def test_without_a_folder_nothing_is_kept() -> None:
    write_session(None, SessionState("broker", "client"))
    assert read_session(None) is None


def test_once_remembers_a_bounded_number_of_topics_and_forgets_the_one_longest_unchanged() -> None:
    policy = RetainedPolicy("once", {})
    batch = Batch(1)
    batch.messages = [Message(f"t/{number}", b"", 0) for number in range(10_001)]
    policy.stored(batch)
    assert len(policy.digests) == 10_000
    assert policy.wants(Message("t/0", b"", 0, 0, True))
    assert not policy.wants(Message("t/1", b"", 0, 0, True))
    assert policy.wants(Message("t/1", b"changed", 0, 0, True))


def test_long_topics_are_remembered_by_their_digest_so_that_neither_memory_nor_file_grow(tmp_path: Path) -> None:
    policy = RetainedPolicy("once", {})
    batch = Batch(1)
    batch.messages = [Message(f"{number}/" + "x" * 60_000, b"content", 0) for number in range(100)]
    policy.stored(batch)
    write_retained(tmp_path, policy.digests)
    assert (tmp_path / "retained.json").stat().st_size < 100 * 50
    again = RetainedPolicy("once", read_retained(tmp_path))
    assert not any(again.wants(message) for message in batch.messages)


def test_digests_by_topic_of_an_earlier_release_still_count(tmp_path: Path) -> None:
    (tmp_path / "retained.json").write_text(json.dumps({"a/b": digest_of(b"content")}))
    policy = RetainedPolicy("once", read_retained(tmp_path))
    assert not policy.wants(Message("a/b", b"content", 0, 0, True))
