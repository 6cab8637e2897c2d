"""Promises of the sink aws-sqs beside the contract: receipts, order in groups, attributes, limits, packs."""

from __future__ import annotations

import json
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from edgerouter import Properties, Rejected, Unavailable
from edgerouter.testing import deliver, make_message, make_messages
from edgerouter_aws.sqs.sink import SqsSink
from support.aws.sqs import SqsError, SqsServer
from support.sinks import opened as open_sink

FIFO = "plant.fifo"


def opened(
    sqs: SqsServer, keys: dict[str, Any], queue: str = "plant", *, seconds: float = 30.0, **more: Any
) -> AbstractAsyncContextManager[SqsSink]:
    return open_sink(SqsSink, {"queue": queue, "endpoint_url": sqs.url, **keys, **more}, seconds=seconds)


@pytest.mark.parametrize("queue", ["plant", FIFO])
async def test_each_message_taken_has_the_id_that_sqs_gave_it_as_its_receipt(
    sqs: SqsServer, keys: dict[str, Any], queue: str
) -> None:
    sqs.create(queue)
    await sqs.reject(b"bad")
    async with opened(sqs, keys, queue) as sink:
        outcome = await sink.write(make_messages([b"1", b"bad", b"2"]))
    assert [failure.index for failure in outcome.failed] == [1]
    assert outcome.receipts == ["0", "1"]


async def test_a_group_stops_at_its_first_message_that_is_not_taken_and_others_go_on(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    batch = [
        make_message(f"{group}{n}".encode(), topic=f"t/{group}", sequence=3 * n + "abc".index(group) + 1)
        for n in range(4)
        for group in "abc"
    ]
    async with opened(sqs, keys, FIFO, group_id="{topic[1]}") as sink:
        await sqs.fail_once(b"b1")
        outcome = await sink.write(batch)
        (failure,) = outcome.failed
        assert (batch[failure.index].payload, type(failure.error), failure.may_have_arrived) == (b"b1", Unavailable, False)
        missing = [b"b1", *(batch[place].payload for place in outcome.untried)]
        assert missing == [b"b1", b"b2", b"b3"]
        assert not (await sink.write([message for message in batch if message.payload in missing])).failed
    for group in "abc":
        assert [body for body in sqs.bodies(FIFO) if body[0] == group] == [f"{group}{n}" for n in range(4)]


async def test_a_group_goes_on_after_a_message_that_will_never_be_taken(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    await sqs.reject(b"1")
    async with opened(sqs, keys, FIFO) as sink:
        (failure,) = (await sink.write(make_messages([b"0", b"1", b"2"]))).failed
    assert failure.index == 1
    assert isinstance(failure.error, Rejected)
    assert sqs.bodies(FIFO) == ["0", "2"]


@pytest.mark.parametrize("code", ["InternalError", "RequestThrottled", "InvalidMessageContents"])
async def test_a_request_that_fails_after_others_were_taken_leaves_the_rest_in_order(
    sqs: SqsServer, keys: dict[str, Any], code: str
) -> None:
    """Even when it says that a message is bad: the next write starts with that request, and the router halves it there."""
    sqs.create(FIFO)
    batch = make_messages([b"%d" % n for n in range(5)])
    taken = 0

    def fail_the_third(entry: dict[str, Any]) -> tuple[str, bool] | None:
        nonlocal taken
        taken += 1
        if taken == 2:
            sqs.script.append(SqsError(code, "no", 500 if code == "InternalError" else 400))
        return None

    sqs.fail_entry = fail_the_third
    async with opened(sqs, keys, FIFO) as sink:
        outcome = await sink.write(batch)
        (failure,) = outcome.failed
        assert isinstance(failure.error, Unavailable)
        assert (failure.index, failure.may_have_arrived, outcome.untried) == (2, code != "InvalidMessageContents", [3, 4])
        assert not (await sink.write(batch[2:])).failed
    assert sqs.bodies(FIFO) == ["0", "1", "2", "3", "4"]


async def test_a_write_on_a_slow_link_ends_in_time_and_the_next_one_goes_on(sqs: SqsServer, keys: dict[str, Any]) -> None:
    """One group of 20 messages is 20 requests; all of them in one write would end in the time-out, and begin anew, for ever."""
    sqs.create(FIFO)
    batch = make_messages([b"%d" % n for n in range(20)])
    async with opened(sqs, keys, FIFO, seconds=0.0) as sink:
        writes = 0
        while batch:
            outcome = await sink.write(batch)
            assert not outcome.failed
            batch = [batch[place] for place in outcome.untried]
            writes += 1
    assert writes == 20
    assert sqs.bodies(FIFO) == [str(n) for n in range(20)]


async def test_messages_of_different_groups_share_requests(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    batch = [make_message(b"x", topic=f"t/{n % 20}", sequence=n + 1) for n in range(100)]
    async with opened(sqs, keys, FIFO) as sink:
        assert not (await sink.write(batch)).failed
    assert sqs.request_sizes == [10] * 10


async def test_group_ids_are_what_sqs_takes_whatever_the_topic(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    topics = ["a/b", "größe/😀", "x" * 200, "with space", "a//b", "\x01"]
    async with opened(sqs, keys, FIFO) as sink:
        assert not (await sink.write([make_message(b"x", topic=topic, sequence=n) for n, topic in enumerate(topics, 1)])).failed
    groups = [entry["MessageGroupId"] for entry in sqs.queues[FIFO].entries]
    assert len(set(groups)) == len(topics)
    assert groups[0] == "a/b"


async def test_a_standard_queue_takes_groups_for_fairness_and_promises_no_order(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    async with opened(sqs, keys, group_id="{property[tenant]}") as sink:
        message = make_message(properties=Properties(user=(("tenant", "acme"),)))
        assert not (await sink.write([message])).failed
        assert sink.order_of(message) is None
    (entry,) = sqs.queues["plant"].entries
    assert entry["MessageGroupId"] == "acme"
    assert "MessageDeduplicationId" not in entry


async def test_attributes_carry_what_the_topic_and_the_properties_say(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    user = (("unit", "°C"), ("aws.x", "1"), ("a b", "2"), ("encoding", "mine"), ("empty", ""), ("unit", "again"))
    message = make_message(b"\xff", qos=2, retained=True, properties=Properties(user=user))
    async with opened(sqs, keys) as sink:
        assert not (await sink.write([message])).failed
    (entry,) = sqs.queues["plant"].entries
    said = {name: value["StringValue"] for name, value in entry["MessageAttributes"].items()}
    assert said == {
        "topic": message.topic, "id": message.id, "time": "2026-11-20T10:00:00.124456Z", "qos": "2", "retained": "true",
        "unit": "°C", "_aws.x": "1", "a_b": "2", "encoding": "base64",
    }  # fmt: skip


async def test_binary_payloads_are_rejected_where_the_user_says_so(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    async with opened(sqs, keys, binary="reject") as sink:
        failures = (await sink.write(make_messages([b"a", b"\xff", b"c", b""]))).failed
    assert [(failure.index, type(failure.error)) for failure in failures] == [(1, Rejected)]
    assert [item.payload for item in await sqs.received()] == [b"a", b"c", b""]


async def test_a_batch_that_sqs_finds_too_long_is_split(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    batch = make_messages([b"%d" % n for n in range(4)])
    sqs.script.append(SqsError("AWS.SimpleQueueService.BatchRequestTooLong", "too long"))
    async with opened(sqs, keys) as sink:
        assert not await deliver(sink, batch)
    assert sqs.request_sizes == [2, 2]


async def test_a_pack_is_one_message_of_one_group_and_sent_again_is_not_doubled(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    batch = [make_message(b"%d" % n, topic="line/1", sequence=n) for n in range(1, 51)]
    async with opened(sqs, keys, FIFO, pack="gzip", group_id="{topic[1]}") as sink:
        assert sink.stable_batches
        assert sink.partition_of(batch[0]) == sink.order_of(batch[0]) == "1"
        for _ in range(3):
            assert not (await sink.write(batch)).failed
    (entry,) = sqs.queues[FIFO].entries
    assert entry["MessageGroupId"] == "1"
    assert entry["MessageAttributes"]["messages"]["StringValue"] == "50"
    lines = (await sqs.received())[0].payload.splitlines()
    assert [json.loads(line)["id"] for line in lines] == [message.id for message in batch]
