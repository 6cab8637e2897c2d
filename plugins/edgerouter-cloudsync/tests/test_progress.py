"""Each request gets the sink's word, and what waits is bounded for each broker and for all."""

from __future__ import annotations

import gc

from edgerouter_cloudsync.progress import GIVEN_UP_SECONDS, OVERHEAD, Bounds, Delivered, Progress, Refused, Waits, progress_of


async def test_a_request_gets_the_word_of_the_sink() -> None:
    progress = Progress()
    first, second, third = (progress.accept(name, "a", 10) for name in ("1", "2", "3"))
    progress.settled("a", "1", Delivered())
    progress.settled("a", "2", Refused("too large"))
    progress.fails("a", "down")
    assert [each.result() for each in (first, second, third)] == [Delivered(), Refused("too large"), Waits("down")]
    assert progress.share("a").down == "down"
    progress.works("a")
    assert progress.share("a").down == ""


async def test_a_brokers_share_is_bounded_and_leaves_room_for_the_others() -> None:
    progress = Progress()
    progress.bounds = Bounds(messages=2, bytes=10_000, all_messages=3, all_bytes=100_000)
    for name in ("1", "2"):
        assert progress.has_room("a", 10)
        progress.note(name, "a", 10)
    assert not progress.has_room("a", 10)
    assert progress.has_room("b", 10)
    assert not progress.has_room("b", 100_000)
    progress.note("3", "b", 10)
    assert not progress.has_room("c", 10)
    progress.settled("b", "3", Delivered())
    assert progress.has_room("c", 10)
    assert progress.share("a").bytes == 2 * (10 + OVERHEAD)


async def test_what_was_settled_without_the_sink_is_noticed_with_the_next_write() -> None:
    """The router dead-letters what it gives up on without a call of the sink."""
    progress = Progress()
    for name in ("1", "2", "3"):
        progress.note(name, "a", 10)
        progress.note(name, "a", 10)  # gathered again
    progress.started("a", "3")
    assert list(progress.share("a").waiting) == ["3"]
    progress.started("a", "unknown")
    assert list(progress.share("a").waiting) == ["3"]


async def test_each_broker_has_another_order_key_and_that_of_an_unused_one_is_free_again() -> None:
    progress = Progress()
    assert [progress.note("", name, 1) for name in ("a", "b", "c")] == [0, 1, 2]
    progress.release("b")
    assert progress.note("1", "d", 1) == 1
    progress.release("d")  # something waits for it
    assert progress.note("2", "e", 1) == 3


async def test_what_had_no_write_for_long_is_taken_as_given_up() -> None:
    progress = Progress()
    progress.note("1", "a", 10)
    progress.tidy()
    assert list(progress.shares) == ["a"]
    progress.share("a").used_at -= GIVEN_UP_SECONDS + 1
    progress.tidy()
    assert not progress.shares
    assert progress.has_room("a", progress.bounds.bytes - 2 * OVERHEAD)


async def test_source_and_sink_of_one_router_share_it_and_other_routers_do_not() -> None:
    mine = progress_of("spool")
    assert progress_of("spool") is mine
    assert progress_of("other") is not mine
    mine.note("1", "a", 1)
    del mine
    gc.collect()
    assert not progress_of("spool").shares, "it outlived its router"
