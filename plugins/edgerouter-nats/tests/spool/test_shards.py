"""A sink's reader over its shards."""

from __future__ import annotations

from edgerouter_nats.spool.shards import SinkShards


def test_a_runner_that_asked_while_the_lease_was_over_is_woken_by_the_renewal() -> None:
    """Nothing else would wake it: its messages are in memory already."""
    valid = False
    woken: list[bool] = []
    shards = SinkShards(["cloud"], lambda _: 0, lambda: valid)
    shards.on_ready(lambda: woken.append(valid))
    shards.renewed()
    assert not woken, "it has not asked"
    assert shards.take(10) == []
    valid = True
    shards.renewed()
    shards.renewed()
    assert woken == [True]
