"""Promises of the sink aws-s3 beside the contract: keys, headers, parts, conditions, and answers to opening.

Covers also: edgerouter_aws.s3.bucket.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web
from pydantic import ValidationError

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import Received, deliver, make_context, make_message, make_messages
from edgerouter_aws.s3.sink import S3Config, S3Sink
from support.aws.s3 import S3Error, S3Server, Stored
from support.meeting import Meeting, write_together
from support.raw_http import raw_http


def unpack(key: str, stored: Stored) -> list[Received]:
    return [Received(stored.body)]


@pytest.fixture
async def s3() -> AsyncIterator[S3Server]:
    async with S3Server(unpack).running() as server:
        yield server


@asynccontextmanager
async def opened(s3: S3Server, keys: dict[str, Any], **more: Any) -> AsyncIterator[S3Sink]:
    config = S3Config(**{"bucket": s3.bucket, "endpoint_url": s3.url, **keys, **more})
    async with S3Sink.open(config, make_context("archive")) as sink:
        yield sink


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
    async with Patient(unpack).running() as s3:
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


@pytest.mark.parametrize("checksums", [True, False])
async def test_a_large_object_goes_up_in_parts_and_is_completed(s3: S3Server, keys: dict[str, Any], checksums: bool) -> None:
    """S3 completes an upload only if its beginning named the algorithm of the checksums that its parts and its end carry."""
    batch = make_messages([bytes([n]) * 1_000_000 for n in range(12)])
    async with opened(s3, keys, framing="raw-lines", key="{id}.txt", multipart="5MiB", checksums=checksums) as sink:
        before = await s3.requests()
        assert not (await sink.write(batch)).failed
        assert await s3.requests() - before == 3
    (stored,) = s3.objects.values()
    assert stored.body == b"".join(message.payload + b"\n" for message in batch)


async def test_an_upload_that_fails_is_given_up_and_leaves_nothing_to_pay_for(s3: S3Server, keys: dict[str, Any]) -> None:
    batch = make_messages([b"x" * 6 * 1024**2])
    async with opened(s3, keys, framing="payload", key="{id}", multipart="5MiB") as sink:
        s3.script.append(S3Error("InternalError", "no", 500))
        with pytest.raises(Unavailable):
            await sink.write(batch)
        assert s3.uploads == {}
        s3.script.append(S3Error("InternalError", "no", 500))
        s3.denied = {"abort"}
        with pytest.raises(Unavailable):
            await sink.write(batch)
        assert not (await sink.write(batch)).failed
    assert len(s3.objects) == 1


@pytest.mark.parametrize("code", ["InvalidPart", "InvalidPartOrder", "EntityTooSmall", "NoSuchUpload", "BadDigest", "MalformedXML"])
async def test_an_upload_that_came_apart_is_made_anew_and_is_not_the_fault_of_its_messages(
    s3: S3Server, keys: dict[str, Any], code: str
) -> None:
    batch = make_messages([b"x" * 6 * 1024**2])
    async with opened(s3, keys, framing="payload", key="{id}", multipart="5MiB", checksums=True) as sink:
        s3.script.append(S3Error(code, "no"))
        with pytest.raises(Unavailable, match=code):
            await sink.write(batch)
        assert not (await sink.write(batch)).failed
    assert len(s3.objects) == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"bucket": "plant-archve"}, "bucket plant-archve in eu-west-1: the bucket does not exist"),
        ({"region": "us-east-1"}, "it is in another region; set region: eu-west-1"),
        ({"denied": {"put"}}, "grant s3:PutObject, s3:AbortMultipartUpload on arn:aws:s3:::plant-archive/*"),
    ],
)
async def test_opening_says_what_is_wrong_and_what_to_grant(
    s3: S3Server, keys: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    s3.denied = change.pop("denied", set())
    with pytest.raises(Unauthorized) as caught:
        async with opened(s3, keys | change):
            pass
    assert said in str(caught.value)


async def test_opening_looks_under_the_fixed_start_of_the_key(s3: S3Server, keys: dict[str, Any]) -> None:
    """A policy may allow `plant/*` and nothing beside it."""
    seen: list[str] = []

    class Looking(S3Server):
        async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
            seen.append(request.path)
            return await super().answer(request, body)

    async with Looking(unpack).running() as looking:
        for key in ("{id}", "plant/{id}", "plant/line-{id}"):
            async with opened(looking, keys, key=key, addressing="path"):
                pass
    starts = sorted({path.removeprefix(f"/{s3.bucket}/") for path in seen})
    assert starts == [".edgerouter-check", "plant/.edgerouter-check", "plant/line-.edgerouter-check"]


@pytest.mark.parametrize(
    ("code", "status"), [("InvalidArgument", 400), ("AccessControlListNotSupported", 400), ("SomethingNew", 400)]
)
async def test_opening_fails_with_the_objection_of_s3_to_the_settings(
    s3: S3Server, keys: dict[str, Any], code: str, status: int
) -> None:
    class Refusing(S3Server):
        async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
            return web.Response(status=status, text=f"<Error><Code>{code}</Code><Message>no such ACL</Message></Error>")

    async with Refusing(unpack).running() as refusing:
        with pytest.raises(Unauthorized, match=f"{code}.*no such ACL"):
            async with opened(refusing, keys, acl="nonsense"):
                pass


@pytest.mark.parametrize(
    "fields",
    [
        {"metadata": {"größe": "1"}}, {"metadata": {"a": "ü"}}, {"metadata": {"a": "1\r\nx-amz-acl: public-read"}},
        {"metadata": {"a:": "1"}}, {"metadata": {"a": "x" * 2048}}, {"tags": {"": "1"}}, {"tags": {"x" * 129: "1"}},
        {"tags": {"a": "x" * 257}}, {"tags": {"a": "50 %"}}, {"tags": {"a,b": "1"}}, {"tags": {"aws:a": "1"}},
    ],
)  # fmt: skip
def test_metadata_and_tags_that_s3_would_refuse_are_refused_at_the_start(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        S3Config(bucket="b", **fields)


@pytest.mark.parametrize("bucket", ["plant archive", "plant/archive", "s3://plant", ""])
def test_an_invalid_bucket_name_is_refused_without_quoting_a_regular_expression(bucket: str) -> None:
    with pytest.raises(ValidationError, match="is not the name of a bucket: letters, digits, dots and hyphens") as caught:
        S3Config(bucket=bucket)
    assert "A-Z" not in str(caught.value)


@pytest.mark.parametrize("bucket", ["plant-archive", "Plant_Archive.2016", "arn:aws:s3:eu-west-1:123456789012:accesspoint/plant"])
def test_names_of_buckets_old_and_new_are_taken(bucket: str) -> None:
    assert S3Config(bucket=bucket).bucket == bucket


async def test_a_404_that_is_not_of_s3_is_not_a_missing_bucket(s3: S3Server, keys: dict[str, Any]) -> None:
    async with raw_http(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nnot here") as server:
        with pytest.raises(Unavailable, match="the answer is not one of AWS; check endpoint_url") as caught:
            async with opened(s3, keys, endpoint_url=server.url):
                pass
    assert "the bucket does not exist" not in str(caught.value)


async def test_tls_to_a_plain_port_is_explained(s3: S3Server, keys: dict[str, Any]) -> None:
    with pytest.raises(Unauthorized, match="does not speak TLS on this port; is it http:// and not https://"):
        async with opened(s3, keys, endpoint_url=s3.url.replace("http:", "https:")):
            pass


async def test_only_checking_stores_a_part(s3: S3Server, keys: dict[str, Any]) -> None:
    """An account that may not use the KMS key for parts goes on storing objects of one request."""
    s3.denied = {"part"}
    config = S3Config(bucket=s3.bucket, endpoint_url=s3.url, **keys)
    async with S3Sink.open(config, make_context()) as sink:
        assert not (await sink.write(make_messages([b"1"]))).failed
    with pytest.raises(Unauthorized, match="kms:Decrypt"):
        async with S3Sink.open(config, replace(make_context(), probe=True)):
            pass


async def test_opening_leaves_nothing_in_the_bucket(s3: S3Server, keys: dict[str, Any]) -> None:
    async with opened(s3, keys, key="raw/site-1/{topic}/{id}"):
        assert (s3.objects, s3.uploads, s3.aborted) == ({}, {}, 1)
    async with opened(s3, keys, probe=False):
        assert s3.aborted == 1


async def test_the_error_of_a_wrong_key_repeats_no_part_of_the_request(s3: S3Server, keys: dict[str, Any]) -> None:
    text = "The Canonical String for this request should have been 'PUT x-amz-security-token:token-that-stays-secret'"
    async with opened(s3, keys) as sink:
        s3.script.append(S3Error("SignatureDoesNotMatch", text, 403))
        with pytest.raises(Unauthorized) as caught:
            await sink.write(make_messages([b"1"]))
    assert "the secret access key does not belong to the access key id" in str(caught.value)
    assert "stays-secret" not in str(caught.value)


async def test_the_error_of_a_wrong_clock_names_the_difference(s3: S3Server, keys: dict[str, Any]) -> None:
    async with opened(s3, keys) as sink:
        headers = {"Date": "Fri, 01 Jan 2100 00:00:00 GMT"}
        s3.script.append(S3Error("RequestTimeTooSkewed", "The difference is too large.", 403, headers))
        with pytest.raises(Unauthorized, match=r"the device's clock is wrong .*; the device's clock is \d+ s behind that of AWS"):
            await sink.write(make_messages([b"1"]))


async def test_an_answer_of_a_captive_portal_is_not_taken_for_success(keys: dict[str, Any]) -> None:
    class Portal(S3Server):
        async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
            return web.Response(text="<html>Please log in</html>", content_type="text/html")

    async with Portal(unpack).running() as portal, opened(portal, keys, probe=False) as sink:
        with pytest.raises(Unavailable, match="captive portal"):
            await sink.write(make_messages([b"1"]))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kms_key_id": "k"}, "needs encryption"),
        ({"framing": "parquet", "compression": "gzip"}, "parquet.compression"),
        ({"key": "{topic}.gz"}, "the same key"),
        (
            {"framing": "parquet", "parquet": {"columns": [{"name": "a", "type": "string", "value": "paylod"}]}},
            "'paylod' is not known",
        ),
        (
            {"framing": "parquet", "parquet": {"columns": [{"name": "a", "type": "string", "value": "id"}] * 2}},
            "two columns are named a",
        ),
    ],
)
def test_contradictory_settings_are_refused_before_anything_is_opened(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        S3Config(bucket="b", **fields)
