"""The newest chunks stay in memory for the sinks that have not read them, within a bound in bytes."""

from __future__ import annotations

from edgerouter.message import Message
from edgerouter.spool.log.chunk import Chunk
from edgerouter.spool.log.recent import Recent


def chunk(first: int, count: int = 10, size: int = 100) -> Chunk:
    """Build a chunk with these sequences."""
    return Chunk(first, [Message("t", b"", 0, sequence=first + place) for place in range(count)], {}, size=size)


def filled(chunks: int, max_bytes: int = 10_000) -> Recent:
    """Return a memory of chunks of ten messages each."""
    recent = Recent(max_bytes, 1)
    for number in range(chunks):
        recent.add(chunk(1 + 10 * number))
    return recent


def test_a_chunk_is_found_by_each_of_its_sequences() -> None:
    recent = filled(3)

    assert [found.first for sequence in (1, 10, 11, 30) if (found := recent.find(sequence))] == [1, 1, 11, 21]
    assert recent.find(31) is None


def test_the_oldest_make_room_and_the_newest_stays_whatever_its_size() -> None:
    recent = filled(3, max_bytes=250)
    assert (recent.first, recent.find(10)) == (11, None)

    recent.add(chunk(31, size=1_000_000))
    assert (recent.first, recent.find(30)) == (31, None)
    assert recent.find(31) is not None


def test_what_every_sink_has_read_is_forgotten() -> None:
    recent = filled(3)
    recent.forget(21)

    assert (recent.first, recent.find(20)) == (21, None)
    assert recent.find(21) is not None


def test_a_chunk_that_is_read_in_part_stays() -> None:
    recent = filled(3)
    recent.forget(25)

    assert recent.find(21) is not None


def test_chunks_go_on_where_everything_was_forgotten() -> None:
    recent = filled(200)
    recent.forget(1 << 62)
    assert (recent.first, recent.find(2000)) == (2001, None)

    recent.add(chunk(2001))
    assert recent.find(2005) is not None
