"""A histogram counts each duration once, in the first bucket that holds it."""

from edgerouter.histogram import Histogram


def test_a_duration_on_a_bound_belongs_to_the_bucket_below() -> None:
    found = Histogram.of((0.1, 1.0))
    for seconds in (0.0, 0.1, 0.2, 1.0, 1.1, 100.0):
        found.add(seconds)
    assert found.counts == [2, 2, 2]
    assert round(found.total, 6) == 102.4
