"""Promises of the sink aws-s3 beside the contract: keys, bytes, headers and conditions of its objects."""

from __future__ import annotations

import gzip
import json
import zlib
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from edgerouter import Unavailable
from edgerouter.testing import deliver, make_message, make_messages
from edgerouter_aws.s3.config import S3Config
from edgerouter_aws.s3.sink import S3Sink
from support.aws.s3 import S3Error, S3Server
from support.meeting import Meeting, write_together
from support.sinks import opened as open_sink


def opened(s3: S3Server, keys: dict[str, Any], **more: Any) -> AbstractAsyncContextManager[S3Sink]:
    return open_sink(S3Sink, {"bucket": s3.bucket, "endpoint_url": s3.url, **keys, **more})


async def test_a_batch_is_one_object_of_json_lines_by_default(s3: S3Server, keys: dict[str, Any]) -> None:
    batch = make_messages([b'{"v": 1}', b"text", b"\xff"])
    async with opened(s3, keys) as sink:
        assert not (await sink.write(batch)).failed
    ((key, stored),) = s3.objects.items()
    assert key == "plant/line-1/temperature/2026/11/20/100000-5p00l-1-3.jsonl.gz"
    lines = [json.loads(line) for line in gzip.decompress(stored.body).splitlines()]
    assert [line["payload"] for line in lines] == [{"v": 1}, "text", {"base64": "/w=="}]
    assert stored.headers["Content-Type"] == "application/x-ndjson"
    assert stored.headers["Content-Encoding"] == "gzip"


async def test_the_receipt_of_an_object_is_its_etag(s3: S3Server, keys: dict[str, Any]) -> None:
    async with opened(s3, keys) as sink:
        outcome = await sink.write(make_messages([b"1", b"2"]))
    (stored,) = s3.objects.values()
    assert outcome.receipts == f'"{zlib.crc32(stored.body):08x}"'


async def test_messages_of_different_folders_are_different_objects(s3: S3Server, keys: dict[str, Any]) -> None:
    batch = [make_message(b"x", topic=f"plant/{n % 3}/t", sequence=n) for n in range(1, 10)]
    async with opened(s3, keys, key="{topic[1]}/{sink}/{host}/{id}.txt", framing="raw-lines") as sink:
        assert not await deliver(sink, batch)
        assert sink.order_of(batch[0]) == sink.partition_of(batch[0])
    # the last part of an id distinguishes batches with the same first and last message
    assert {key.rpartition("-")[0]: stored.body for key, stored in s3.objects.items()} == {
        f"{n}/archive/edge-1/5p00l-{first}-{first + 6}": b"x\n" * 3 for n, first in ((1, 1), (2, 2), (0, 3))
    }


async def test_objects_of_one_message_are_written_at_once_within_one_folder(keys: dict[str, Any]) -> None:
    """Sixteen workers have sixteen requests in flight: their objects have no order to keep."""

    class Patient(Meeting, S3Server):  # type: ignore[misc]  # Meeting delegates
        pass

    batch = [make_message(b"%d" % n, sequence=n) for n in range(1, 65)]
    async with Patient().running() as s3:
        config = S3Config(bucket=s3.bucket, endpoint_url=s3.url, framing="payload", key="{topic}/{id}", **keys)
        await write_together(S3Sink, config, batch, 16)
        assert len(s3.objects) == 64


@pytest.mark.parametrize(
    ("fields", "ordered"),
    [({"framing": "payload"}, False), ({"framing": "payload", "ordered": True}, True), ({}, True), ({"ordered": False}, False)],
)
async def test_objects_keep_an_order_where_they_hold_many_messages_or_where_the_user_asks(
    s3: S3Server, keys: dict[str, Any], fields: dict[str, Any], ordered: bool
) -> None:
    message = make_message(b"1")
    async with opened(s3, keys, key="{topic}/{id}", **fields) as sink:
        assert (sink.order_of(message) is not None) is ordered


async def test_everything_that_the_user_wants_an_object_stored_with_is_sent(s3: S3Server, keys: dict[str, Any]) -> None:
    more = {
        "storage_class": "STANDARD_IA",
        "tags": {"site": "plant 1"},
        "metadata": {"owner": "me"},
        "encryption": "aws:kms",
        "kms_key_id": "alias/plant",
        "bucket_key": True,
        "acl": "bucket-owner-full-control",
        "expected_bucket_owner": "123456789012",
        "content_type": "application/json",
        "content_encoding": "none",
    }
    async with opened(s3, keys, **more) as sink:
        assert not (await sink.write(make_messages([b"1"]))).failed
    (stored,) = s3.objects.values()
    assert {name.lower(): value for name, value in stored.headers.items()}.items() >= {
        "x-amz-storage-class": "STANDARD_IA",
        "x-amz-tagging": "site=plant+1",
        "x-amz-meta-owner": "me",
        "x-amz-server-side-encryption": "aws:kms",
        "x-amz-server-side-encryption-aws-kms-key-id": "alias/plant",
        "x-amz-server-side-encryption-bucket-key-enabled": "true",
        "x-amz-acl": "bucket-owner-full-control",
        "x-amz-expected-bucket-owner": "123456789012",
        "content-type": "application/json",
    }.items()
    assert "Content-Encoding" not in stored.headers


async def test_no_acl_is_sent_unless_the_user_says_one(s3: S3Server, keys: dict[str, Any]) -> None:
    async with opened(s3, keys) as sink:
        assert not (await sink.write(make_messages([b"1"]))).failed
    (stored,) = s3.objects.values()
    assert not [name for name in stored.headers if name.lower() == "x-amz-acl"]


@pytest.mark.parametrize("count", [1, 2])
async def test_a_retry_leaves_exactly_one_object_with_the_same_bytes(s3: S3Server, keys: dict[str, Any], count: int) -> None:
    """The key and the bytes follow from the batch, also in a sink that is opened again after a crash."""
    batch = make_messages([b"%d" % n for n in range(100)])
    for _ in range(3):
        async with opened(s3, keys) as sink:
            for _ in range(count):
                assert not (await sink.write(batch)).failed
    (stored,) = s3.objects.values()
    assert stored.writes == 3 * count


async def test_an_object_that_is_there_already_counts_as_written(s3: S3Server, keys: dict[str, Any]) -> None:
    batch = make_messages([b"1"])
    async with opened(s3, keys, create_only=True) as sink:
        await s3.lose_next_response()
        for _ in range(2):
            assert not (await sink.write(batch)).failed
    (stored,) = s3.objects.values()
    assert stored.writes == 1


async def test_the_sink_knows_whether_a_batch_is_stored_where_it_may_look(s3: S3Server, keys: dict[str, Any]) -> None:
    batch = make_messages([b"1", b"2"])
    async with opened(s3, keys, expected_bucket_owner="123456789012") as sink:
        assert await sink.holds(batch) is False
        await sink.write(batch)
        assert await sink.holds(batch) is True
        assert await sink.holds(batch[:1]) is False
        s3.denied = {"get"}
        assert await sink.holds(batch) is False
    async with opened(s3, keys, region="us-east-1", probe=False) as sink:
        with pytest.raises(Unavailable):
            await sink.holds(batch)


async def test_a_conditional_conflict_is_tried_again(s3: S3Server, keys: dict[str, Any]) -> None:
    s3.script.append(S3Error("ConditionalRequestConflict", "conflict", 409))
    async with opened(s3, keys, create_only=True) as sink:
        with pytest.raises(Unavailable, match="ConditionalRequestConflict"):
            await sink.write(make_messages([b"1"]))
        assert not (await sink.write(make_messages([b"1"]))).failed
