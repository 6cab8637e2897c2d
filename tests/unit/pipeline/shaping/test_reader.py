"""A reader with steps settles in the spool what each result stands for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from edgerouter import Message
from edgerouter.pipeline.shaping.reader import MOST_AT_ONCE, ShapedReader
from edgerouter.spool.contract import Rejection
from support.pipeline import ListReader
from support.steps import SECOND, chain, message


def reader(*steps: dict[str, Any], stored: Sequence[Message] = ()) -> tuple[ShapedReader, ListReader]:
    spool = ListReader(*stored)
    return ShapedReader(spool, chain(*steps), "digest"), spool


def settled(spool: ListReader) -> list[int]:
    return [each.sequence for each in spool.delivered_messages]


async def test_a_changed_message_settles_what_is_stored_and_keeps_its_id() -> None:
    shaped, spool = reader({"type": "pick", "fields": ["a"]}, stored=[original := message({"a": 1, "b": 2}, 7)])
    (result,) = shaped.take(10)
    assert (result.id, result.payload) == ("spool-7", b'{"a":1}')
    assert shaped.is_pending(result)
    shaped.delivered([result])
    assert spool.delivered_messages == [original]
    assert not shaped.is_pending(result)


async def test_what_a_step_leaves_out_is_filtered_at_once() -> None:
    stored = [message(n, n, topic=f"t/{n % 2}") for n in range(1, 7)]
    shaped, spool = reader({"type": "filter", "topics": ["t/0"]}, stored=stored)
    assert [each.sequence for each in shaped.take(10)] == [2, 4, 6]
    assert [each.sequence for each in spool.filtered_messages] == [1, 3, 5]


async def test_a_split_message_is_settled_with_its_last_part() -> None:
    shaped, spool = reader({"type": "split"}, stored=[message([1, 2, 3], 1), message([4], 2)])
    results = shaped.take(2) + shaped.take(2)
    assert [each.id for each in results] == ["spool-1.1", "spool-1.2", "spool-1.3", "spool-2.1"]
    shaped.delivered([results[0], results[2], results[3]])
    assert settled(spool) == [2]
    shaped.delivered([results[1]])
    assert settled(spool) == [2, 1]


async def test_a_rejected_part_dead_letters_the_message_as_it_came_in() -> None:
    shaped, spool = reader({"type": "split"}, stored=[original := message([1, 2], 1)])
    first, second = shaped.take(10)
    await shaped.dead_letter([Rejection(second, "bad", "Rejected", 1, 0)])
    assert [rejection.message for rejection in spool.rejections] == [original]
    spool.pending[1] = original  # the list of the test forgets what is settled, a spool ignores it
    shaped.delivered([first])


async def test_what_a_step_refuses_is_dead_lettered_with_step_and_reason() -> None:
    shaped, spool = reader(
        {"type": "pick", "fields": ["a"], "on_error": "dead_letter"}, stored=[message(b"x", 1), message({"a": 1}, 2)]
    )
    assert [each.sequence for each in shaped.take(10)] == [2]
    async with asyncio.timeout(5):
        while not spool.rejections:
            await asyncio.sleep(0)
    (rejection,) = spool.rejections
    assert (rejection.message.sequence, rejection.config_digest) == (1, "digest")
    assert rejection.reason.startswith("step 1:pick: not JSON: ")


async def test_results_that_are_given_back_come_again_in_order_and_unchanged() -> None:
    shaped, spool = reader({"type": "split"}, stored=[message([1, 2], 1), message([3], 2)])
    results = shaped.take(10)
    shaped.give_back([results[2], results[1]])
    assert shaped.take(10) == [results[1], results[2]]
    shaped.delivered(results)
    assert sorted(settled(spool)) == [1, 2]


async def test_a_window_is_sent_when_its_time_has_come_and_settles_all_behind_it() -> None:
    soon = time.time_ns() + SECOND
    stored = [msgspec.structs.replace(message(n, n), received_at=soon + n) for n in range(1, 4)]
    shaped, spool = reader({"type": "window", "every": 0.2, "grace": 0}, stored=stored)
    woken = asyncio.Event()
    shaped.on_ready(woken.set)
    assert shaped.take(10) == []
    await asyncio.wait_for(woken.wait(), 5)
    results = shaped.take(10)
    assert results[0].id.startswith("spool-1")
    assert settled(spool) == []
    shaped.delivered(results)
    assert settled(spool) == [1, 2, 3]


async def test_a_kept_batch_is_made_again_from_its_messages_although_a_step_would_not_select_them_again() -> None:
    stored = [message([n, n + 1], n, at=n * 2) for n in (4, 8)]
    steps = ({"type": "sample", "one_in": 2}, {"type": "split"})
    shaped, spool = reader(*steps, stored=stored)
    results = shaped.take(10)
    await shaped.keep_batch(results)
    assert [[each.sequence for each in batch] for batch in spool.kept] == [[4]]
    again, spool_again = reader(*steps)
    spool_again.to_keep = spool.kept
    spool_again.pending = {4: stored[0]}
    (batch,) = await again.kept_batches()
    assert batch == results
    again.delivered(batch)
    assert settled(spool_again) == [4]


async def test_a_backlog_that_is_filtered_lets_the_event_loop_turn() -> None:
    stored = [message(1, n) for n in range(1, 3 * MOST_AT_ONCE)] + [message(1, 3 * MOST_AT_ONCE, topic="wanted")]
    shaped, spool = reader({"type": "filter", "topics": ["wanted"]}, stored=stored)
    woken: list[int] = []
    shaped.on_ready(lambda: woken.append(len(spool.filtered_messages)))
    woken.clear()
    found: list[Message] = []
    while not found:
        found = shaped.take(1000)
        await asyncio.sleep(0)
    assert woken == [MOST_AT_ONCE, 2 * MOST_AT_ONCE]
    assert [each.sequence for each in found] == [3 * MOST_AT_ONCE]


async def test_a_window_of_a_backlog_is_not_sent_before_all_of_it_is_read() -> None:
    stored = [message(n, n, at=n / 1000) for n in range(1, 5001)]
    shaped, spool = reader({"type": "window", "every": "1d", "functions": ["count"]}, stored=stored)
    shaped.on_ready(lambda: None)
    results: list[Message] = []
    while spool.waiting:
        assert results == []
        results = shaped.take(1000)
    assert [each.payload.partition(b'"count":')[2] for each in results] == [b"5000}"]


async def test_what_is_left_out_between_held_messages_is_settled_with_them_and_a_stop_does_not_wait() -> None:
    soon = time.time_ns() + SECOND
    stored = [msgspec.structs.replace(message(n, n, topic=f"t/{n % 2}"), received_at=soon + n) for n in range(1, 11)]
    steps = ({"type": "filter", "topics": ["t/0"]}, {"type": "window", "every": 0.1, "grace": 0})
    shaped, spool = reader(*steps, stored=stored)
    woken = asyncio.Event()
    shaped.on_ready(woken.set)
    assert shaped.take(100) == []
    assert (spool.filtered_messages, shaped.held) == ([], 10)
    await asyncio.wait_for(woken.wait(), 5)
    shaped.delivered(shaped.take(100))
    assert [each.sequence for each in spool.filtered_messages] == [1, 3, 5, 7, 9]
    assert spool.pending == {}
