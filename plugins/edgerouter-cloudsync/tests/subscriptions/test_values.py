"""The latest value of each topic is held within a bound in bytes."""

from __future__ import annotations

from edgerouter_cloudsync.progress import OVERHEAD
from edgerouter_cloudsync.subscriptions.store import Latest
from edgerouter_cloudsync.subscriptions.values import Values


def test_the_latest_value_counts_of_one_topic_and_of_those_that_match() -> None:
    values = Values(100_000, [Latest("a", "t/1", b"old", 7)])
    values.put("a", "t/2", b"2")
    values.put("b", "t/3", b"3")
    newest = values.newest("a", lambda topic: topic.startswith("t/"))
    assert newest is not None
    assert (newest.payload, newest.place) == (b"2", 8)
    values.put("a", "t/1", b"new")
    exact = values.exact("a", "t/1")
    assert exact is not None
    assert (exact.payload, exact.place) == (b"new", 10)
    assert values.newest("c", lambda _: True) is None


def test_only_what_has_changed_is_to_be_written() -> None:
    values = Values(100_000, [Latest("a", "t", b"", 1), Latest("a", "u", b"", 2)])
    assert values.take_changed() == ([], [])
    values.put("a", "t", b"x")
    values.drop("a", lambda topic: topic == "u")
    assert values.take_changed() == ([Latest("a", "t", b"x", 3)], [("a", "u")])
    assert values.take_changed() == ([], [])


def test_beyond_the_bound_the_oldest_go_from_the_disk_too() -> None:
    values = Values(10 * (OVERHEAD + 200), ())
    for number in range(1000):
        values.put("a", f"topic/{number}", b"x" * 100)
    assert values.exact("a", "topic/999") is not None
    assert values.exact("a", "topic/0") is None
    changed, gone = values.take_changed()
    assert 5 <= len(changed) <= 15
    assert len(changed) + len(gone) == 1000
    values.put("a", "large", b"x" * 100_000)
    assert values.exact("a", "large") is None
