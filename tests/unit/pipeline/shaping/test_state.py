"""The state of a step survives the end of the process."""

from __future__ import annotations

from pathlib import Path

import pytest

from edgerouter.pipeline.shaping import state
from edgerouter.pipeline.shaping.state import FileState


def test_what_was_saved_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "steps" / "out" / "mine.1"
    assert FileState(path).content == b""
    FileState(path).save(b"one")
    again = FileState(path)
    again.save(b"two")
    assert (again.content, FileState(path).content) == (b"two", b"two")
    assert path.stat().st_mode & 0o007 == 0


def test_a_file_that_is_too_large_or_cannot_be_read_counts_as_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state, "MOST_STATE_BYTES", 10)
    (tmp_path / "large").write_bytes(b"x" * 100)
    assert FileState(tmp_path / "large").content == b""
    (tmp_path / "link").symlink_to(tmp_path / "large")
    assert FileState(tmp_path / "link").content == b""
    (tmp_path / "file").write_bytes(b"")
    FileState(tmp_path / "file" / "below").save(b"kept in memory")
