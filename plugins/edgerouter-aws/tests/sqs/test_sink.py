"""Promises of the sink aws-sqs beside the contract: groups, packs, references, attributes, limits.

Covers also: edgerouter_aws.sqs.claim_check, edgerouter_aws.sqs.config, edgerouter_aws.sqs.entry, edgerouter_aws.sqs.groups,
edgerouter_aws.sqs.packing, edgerouter_aws.sqs.queue.
"""

from __future__ import annotations

import base64
import json
import tracemalloc
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from hypothesis import given, settings
from hypothesis import strategies as st

from edgerouter import Properties, Rejected, Unauthorized, Unavailable
from edgerouter.testing import deliver, make_context, make_message, make_messages
from edgerouter_aws.sqs.config import SqsConfig
from edgerouter_aws.sqs.entry import Entries
from edgerouter_aws.sqs.groups import Groups, requests
from edgerouter_aws.sqs.packing import Packs
from edgerouter_aws.sqs.sink import SqsSink
from support.aws.s3 import S3Server
from support.aws.sqs import SqsError, SqsServer, size_of

FIFO = "plant.fifo"


@asynccontextmanager
async def opened(
    sqs: SqsServer, keys: dict[str, Any], queue: str = "plant", *, seconds: float = 30.0, **more: Any
) -> AsyncIterator[SqsSink]:
    config = SqsConfig(queue=queue, **{"endpoint_url": sqs.url, **keys, **more})
    async with SqsSink.open(config, replace(make_context(), timeout=seconds)) as sink:
        yield sink


def bodies(sqs: SqsServer, queue: str) -> list[str]:
    return [entry["MessageBody"] for entry in sqs.queues[queue].entries]


# Receipts


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


# Groups


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
        assert [body for body in bodies(sqs, FIFO) if body[0] == group] == [f"{group}{n}" for n in range(4)]


async def test_a_group_goes_on_after_a_message_that_will_never_be_taken(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    await sqs.reject(b"1")
    async with opened(sqs, keys, FIFO) as sink:
        (failure,) = (await sink.write(make_messages([b"0", b"1", b"2"]))).failed
    assert failure.index == 1
    assert isinstance(failure.error, Rejected)
    assert bodies(sqs, FIFO) == ["0", "2"]


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
    assert bodies(sqs, FIFO) == ["0", "1", "2", "3", "4"]


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
    assert bodies(sqs, FIFO) == [str(n) for n in range(20)]


async def test_messages_of_different_groups_share_requests(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create(FIFO)
    batch = [make_message(b"x", topic=f"t/{n % 20}", sequence=n + 1) for n in range(100)]
    async with opened(sqs, keys, FIFO) as sink:
        assert not (await sink.write(batch)).failed
    assert sqs.request_sizes == [10] * 10


def test_long_group_ids_are_not_remembered() -> None:
    groups = Groups("{topic}", make_context())
    tracemalloc.start()
    for number in range(8000):
        groups.id_of(make_message(topic=f"{number}/" + "\N{ROMAN NUMERAL ONE}" * 900))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 6 * 1024**2  # the key template also caches short topics


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


@pytest.mark.parametrize("template", ["{id}", "{topic}/{time:%H}", "{sequence}", "{nothing}", "{topic"])
def test_a_group_template_that_differs_for_each_message_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match="group_id"):
        SqsConfig(queue=FIFO, group_id=template)


@given(
    st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(1, 600_000)), max_size=60),
    st.booleans(),
)
@settings(deadline=None)
def test_requests_keep_order_and_limits(messages: list[tuple[str, int]], strict: bool) -> None:
    """Every message once, each group in order, at most 10 entries and 1 MiB, and strictly one of a group in each request."""
    groups, sizes = [group for group, _ in messages], [size for _, size in messages]
    plan = requests(groups, sizes, strict=strict)
    assert sorted(place for request in plan for place in request) == list(range(len(messages)))
    sent = [place for request in plan for place in request]
    for group in set(groups):
        of_group = [place for place in sent if groups[place] == group]
        assert of_group == sorted(of_group)
    for request in plan:
        assert 1 <= len(request) <= 10
        assert sum(sizes[place] for place in request) <= 1024 * 1024
        if strict:
            assert len({groups[place] for place in request}) == len(request)


# Entries


texts = st.text(max_size=40)
properties = st.builds(
    Properties,
    user=st.lists(st.tuples(texts, texts), max_size=12).map(tuple),
    content_type=st.none() | texts,
    response_topic=st.none() | texts,
    correlation_data=st.none() | st.binary(max_size=20),
)
anything = st.builds(
    lambda payload, topic, sequence, qos, given: make_message(payload, topic=topic, sequence=sequence, qos=qos, properties=given),
    st.binary(max_size=60) | texts.map(str.encode) | st.sampled_from([b"\x0b", b"\xef\xbf\xbe", "\uffff".encode(), b"\x7f"]),
    texts.filter(bool),
    st.integers(1, 2**40),
    st.integers(0, 2),
    st.none() | properties,
)
ALL = ("topic", "id", "time", "qos", "retained", "content_type", "response_topic", "correlation_data")


@given(anything, st.sampled_from([(), ("topic",), ALL[:5], ALL]), st.sampled_from([True, False, ("a", "b")]))
@settings(deadline=None)
def test_size_of_is_what_sqs_counts_and_every_entry_is_legal(message: Any, names: Any, user: Any) -> None:
    from support.aws.sqs import Queue, _check

    entries = Entries(SqsConfig(queue="q", attributes=names, user_properties=user))
    entry = entries.entry(message)
    for value in entry["MessageAttributes"].values():
        if "BinaryValue" in value:
            value["BinaryValue"] = base64.b64encode(value["BinaryValue"]).decode()
    _check(Queue("q"), entry)
    assert entries.size_of(message) == size_of(entry)


@given(st.lists(anything, min_size=1, max_size=20), st.booleans(), st.sampled_from(("jsonl", "jsonl-exact")))
@settings(deadline=None)
def test_a_pack_of_what_fits_by_its_sizes_fits(batch: list[Any], gzip: bool, framing: Any) -> None:
    from support.aws.sqs import Queue, _check

    packs = Packs(framing, gzip=gzip)
    total = sum(map(packs.size_of, batch))
    limit = next(limit for limit in range(1024, 10**6, 64) if packs.room(limit) >= total)
    entry = packs.entry(batch)
    _check(Queue("q"), entry)
    assert size_of(entry) <= limit


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


# Limits


async def test_the_limit_is_that_of_the_queue(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant", max_message_bytes=262_144)
    async with opened(sqs, keys) as sink:
        assert sink.limits.max_message_bytes == 262_144
        assert sink.limits.max_bytes == 1_048_576


async def test_where_the_limit_may_not_be_read_the_oldest_one_counts(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    sqs.denied = {"GetQueueAttributes"}
    async with opened(sqs, keys) as sink:
        assert sink.limits.max_message_bytes == 262_144
    async with opened(sqs, keys, max_message_bytes="1MiB") as sink:
        assert sink.limits.max_message_bytes == 1_048_576


async def test_a_batch_that_sqs_finds_too_long_is_split(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    batch = make_messages([b"%d" % n for n in range(4)])
    sqs.script.append(SqsError("AWS.SimpleQueueService.BatchRequestTooLong", "too long"))
    async with opened(sqs, keys) as sink:
        assert not await deliver(sink, batch)
    assert sqs.request_sizes == [2, 2]


# Packs


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


# References


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with S3Server(lambda key, stored: (), bucket="plant-large").running() as server:
        yield server


def claims(s3: S3Server, **more: Any) -> dict[str, Any]:
    return {"bucket": s3.bucket, "endpoint_url": s3.url, **more}


async def test_a_payload_that_does_not_fit_goes_to_s3_and_the_message_refers_to_it(
    sqs: SqsServer, s3: S3Server, keys: dict[str, Any]
) -> None:
    sqs.create("plant", max_message_bytes=262_144)
    large = bytes(range(256)) * 2000
    batch = make_messages([b"small", large])
    async with opened(sqs, keys, claim_check=claims(s3)) as sink:
        assert sink.limits.max_message_bytes is not None
        assert max(map(sink.size_of, batch)) <= sink.limits.max_message_bytes
        for _ in range(2):
            assert not (await sink.write(batch)).failed
    small, reference = sqs.queues["plant"].entries[:2]
    assert small["MessageBody"] == "small"
    name, place = json.loads(reference["MessageBody"])
    assert name == "software.amazon.payloadoffloading.PayloadS3Pointer"
    assert place == {"s3BucketName": "plant-large", "s3Key": f"plant/line-1/temperature/{batch[1].id}"}
    assert reference["MessageAttributes"]["ExtendedPayloadSize"] == {"DataType": "Number", "StringValue": str(len(large))}
    assert reference["MessageAttributes"]["id"]["StringValue"] == batch[1].id
    assert [stored.body for stored in s3.objects.values()] == [large]


async def test_payloads_over_a_size_of_choice_go_to_s3(sqs: SqsServer, s3: S3Server, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    async with opened(sqs, keys, claim_check=claims(s3, over="1KiB")) as sink:
        assert not (await sink.write(make_messages([b"x" * 500, b"y" * 2000]))).failed
    assert [stored.body for stored in s3.objects.values()] == [b"y" * 2000]


async def test_a_claim_over_the_size_of_a_part_goes_up_in_parts_with_checksums(
    sqs: SqsServer, s3: S3Server, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does towards AWS, where checksums are on."""
    monkeypatch.setenv("AWS_ENDPOINT_URL_SQS", sqs.url)
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", s3.url)
    sqs.create("plant")
    large = b"x" * (65 * 1024**2)
    async with opened(sqs, keys, endpoint_url=None, claim_check={"bucket": s3.bucket}) as sink:
        assert not (await sink.write(make_messages([large]))).failed
    assert [stored.body == large for stored in s3.objects.values()] == [True]


@pytest.mark.parametrize("queue", ["plant", FIFO])
async def test_on_a_slow_link_what_was_stored_is_sent_before_more_is_stored(
    sqs: SqsServer, s3: S3Server, keys: dict[str, Any], queue: str
) -> None:
    sqs.create(queue)
    batch = make_messages([b"%d" % n * 2000 for n in range(4)])
    async with opened(sqs, keys, queue, seconds=0.0, claim_check=claims(s3, over="1KiB")) as sink:
        for left in (3, 2, 1, 0):
            outcome = await sink.write(batch)
            assert not outcome.failed
            batch = [batch[place] for place in outcome.untried]
            assert len(batch) == left
            assert len(s3.objects) == len(bodies(sqs, queue)) == 4 - left


async def test_a_payload_that_s3_does_not_store_fails_alone_and_stops_its_group(
    sqs: SqsServer, s3: S3Server, keys: dict[str, Any]
) -> None:
    sqs.create(FIFO)
    batch = [
        make_message(payload, topic=topic, sequence=n)
        for n, (topic, payload) in enumerate([("a", b"1"), ("a", b"x" * 2000), ("b", b"2"), ("a", b"3")], 1)
    ]
    async with opened(sqs, keys, FIFO, claim_check=claims(s3, over="1KiB")) as sink:
        s3.denied = {"put"}
        outcome = await sink.write(batch)
        (failure,) = outcome.failed
        assert (failure.index, type(failure.error), outcome.untried) == (1, Unauthorized, [3])
        assert "s3:PutObject" in str(failure.error)
        s3.denied = set()
        assert not (await sink.write([batch[1], batch[3]])).failed
    assert [entry["MessageDeduplicationId"] for entry in sqs.queues[FIFO].entries if entry["MessageGroupId"] == "a"] == [
        batch[0].id, batch[1].id, batch[3].id,
    ]  # fmt: skip


# Opening


@pytest.mark.parametrize("queue", ["plant", "{url}", "arn:aws:sqs:eu-west-1:123456789012:plant"])
async def test_a_queue_is_found_by_name_url_and_arn(sqs: SqsServer, keys: dict[str, Any], queue: str) -> None:
    url = sqs.create("plant")
    async with opened(sqs, keys, queue.replace("{url}", url)) as sink:
        assert not (await sink.write(make_messages([b"x"]))).failed
    assert bodies(sqs, "plant") == ["x"]


async def test_a_queue_of_another_account_is_found_without_asking_for_its_url(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    sqs.denied = {"GetQueueUrl"}
    async with opened(sqs, keys, account_id="123456789012") as sink:
        assert not (await sink.write(make_messages([b"x"]))).failed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"queue": "plamt"}, "queue plamt in eu-west-1: the queue does not exist"),
        ({"access_key_id": "AKIAWRONG"}, "the access key id or the session token is not known to AWS"),
        ({"denied": {"SendMessageBatch"}}, "grant sqs:SendMessage on arn:aws:sqs:eu-west-1:123456789012:plant"),
        ({"denied": {"GetQueueUrl"}}, "grant sqs:GetQueueUrl on arn:aws:sqs:eu-west-1:*:plant (or give the queue as URL or ARN)"),
    ],
)
async def test_opening_says_what_is_wrong_and_what_to_grant(
    sqs: SqsServer, keys: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    sqs.create("plant")
    sqs.known_key = keys["access_key_id"]
    sqs.denied = change.pop("denied", set())
    with pytest.raises(Unauthorized) as caught:
        async with opened(sqs, keys, **change):
            pass
    assert said in str(caught.value)
    assert await sqs.received() == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"queue": "https://sqs.eu-west-1.amazonaws.com/123456789012/q", "region": "us-east-1"}, "the queue is in eu-west-1"),
        ({"queue": "arn:aws:sqs:eu-west-1:123456789012:q", "region": "us-east-1"}, "the queue is in eu-west-1"),
        ({"queue": "not a queue"}, "write its name, its URL"),
        ({"queue": "q", "access_key_id": "A"}, "belong together"),
        ({"queue": "q", "session_token": "A"}, "session_token needs"),
        ({"queue": "q", "access_key_id": "A", "secret_access_key": "B", "profile": "p"}, "choose one"),
        ({"queue": "q", "web_identity_token_file": "/t"}, "needs role_arn"),
        ({"queue": "q", "pack": "gzip", "claim_check": {"bucket": "b"}}, "do not go together"),
    ],
)
def test_contradictory_settings_are_refused_before_anything_is_opened(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        SqsConfig(**fields)


# Answers that are not of SQS


class Portal(SqsServer):
    """A captive portal: 200 and a page, whatever is asked."""

    on = False
    page = b"<html>Please log in</html>"

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if self.on:
            return web.Response(body=self.page, content_type="text/html")
        return await super().answer(request, body)


@pytest.mark.parametrize(
    "page", [b"<html>Please log in</html>", b"\x1f\x8b\xff", b"[]", b'{"Successful": [{"Id": "x"}, {}], "Failed": [{}]}']
)
async def test_an_answer_of_a_captive_portal_is_not_taken_for_success(keys: dict[str, Any], page: bytes) -> None:
    async with Portal().running() as portal:
        portal.page = page
        portal.create("plant")
        async with opened(portal, keys) as sink:
            portal.on = True
            failures = (await sink.write(make_messages([b"x", b"y"]))).failed
            assert [failure.index for failure in failures] == [0, 1]
            assert all(isinstance(failure.error, Unavailable) for failure in failures)
        with pytest.raises(Unavailable):
            async with opened(portal, keys):
                pass
