"""Pauses outlive a restart, and a file that cannot be used stops no start."""

from pathlib import Path

import pytest

from edgerouter.pipeline.pauses import FILE, Pauses


def test_the_next_start_knows_what_was_paused(tmp_path: Path) -> None:
    before = Pauses(tmp_path)
    before.sinks.add("cloud")
    before.sources.add("local")
    assert before.save()
    after = Pauses(tmp_path)
    assert (after.sinks, after.sources) == ({"cloud"}, {"local"})


@pytest.mark.parametrize(
    "content", [b"", b"[]", b'{"sinks": 7}', b'{"sinks": [1]}', b'{"sinks": ["' + b"x" * 2_000_000 + b'"]}', b"\xff"]
)
def test_a_damaged_file_pauses_nothing_and_raises_nothing(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    found = Pauses(tmp_path)
    assert (found.sinks, found.sources) == (set(), set())


def test_a_planted_link_is_not_followed(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere.json"
    elsewhere.write_text('{"sinks": ["cloud"]}')
    (tmp_path / FILE).symlink_to(elsewhere)
    pauses = Pauses(tmp_path)
    assert pauses.sinks == set()
    pauses.sinks.add("other")
    assert pauses.save()
    assert elsewhere.read_text() == '{"sinks": ["cloud"]}'


def test_a_folder_that_cannot_be_written_is_reported(tmp_path: Path) -> None:
    assert not Pauses(tmp_path / "missing").save()
    assert not Pauses(None).save()
