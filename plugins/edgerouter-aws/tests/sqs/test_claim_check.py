"""Payloads that do not fit go to S3, and the message refers to them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from edgerouter import Unauthorized
from edgerouter.testing import make_message, make_messages
from edgerouter_aws.sqs.sink import SqsSink
from support.aws.s3 import S3Server
from support.aws.sqs import SqsServer
from support.sinks import opened as open_sink

FIFO = "plant.fifo"


def opened(
    sqs: SqsServer, keys: dict[str, Any], queue: str = "plant", *, seconds: float = 30.0, **more: Any
) -> AbstractAsyncContextManager[SqsSink]:
    return open_sink(SqsSink, {"queue": queue, "endpoint_url": sqs.url, **keys, **more}, seconds=seconds)


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with S3Server(bucket="plant-large").running() as server:
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
            assert len(s3.objects) == len(sqs.bodies(queue)) == 4 - left


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
