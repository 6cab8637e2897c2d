"""Promises of `gcp-storage` beside the contract: one object a batch at any number of attempts, and an object's metadata."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Mapping
from functools import partial
from typing import Any

import pytest

from edgerouter import Message, Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_gcp import connection
from edgerouter_gcp.storage.config import StorageConfig
from edgerouter_gcp.storage.sink import StorageSink
from support.google.identity import Identity
from support.google.service import GoogleError
from support.google.storage import GET, StorageServer, StoredObject
from support.meeting import Meeting, write_together
from support.raw_http import for_ever, raw_http

BUCKET = "plant-archive"


KMS = "projects/p/locations/europe-west3/keyRings/r/cryptoKeys/k"


KEY = "{topic}/{id}.jsonl.gz"


def configured(server: StorageServer, account: Mapping[str, Any], **more: Any) -> StorageConfig:
    return StorageConfig.model_validate({"bucket": BUCKET, "endpoint": server.url, "key": KEY, **account, **more})


async def stored(server: StorageServer, config: StorageConfig, batch: list[Message]) -> StoredObject:
    async with StorageSink.open(config, make_context("archive")) as sink:
        assert not (await sink.write(batch)).failed
    (item,) = server.buckets[BUCKET].objects.values()
    return item


async def test_a_batch_is_one_object_of_json_lines(storage: StorageServer, account: Mapping[str, Any]) -> None:
    item = await stored(storage, configured(storage, account), make_messages([b"1", b"text", b"\xff"]))
    lines = [json.loads(line) for line in gzip.decompress(item.data).splitlines()]
    assert [line["payload"] for line in lines] == [1, "text", {"base64": "/w=="}]
    assert [line["id"] for line in lines] == ["5p00l-1", "5p00l-2", "5p00l-3"]
    assert item.name == "plant/line-1/temperature/5p00l-1-3.jsonl.gz"
    assert item.upload_type == "multipart"
    assert item.resource == {"contentType": "application/gzip", "metadata": {"edgerouter": "archive 5p00l-1 3 3"}}


async def test_the_receipt_of_an_object_is_its_generation(storage: StorageServer, account: Mapping[str, Any]) -> None:
    batch = make_messages([b"1", b"2"])
    async with StorageSink.open(configured(storage, account), make_context()) as sink:
        outcome = await sink.write(batch)
        again = await sink.write(batch)
    (item,) = storage.buckets[BUCKET].objects.values()
    assert (outcome.receipts, again.receipts) == (str(item.generation), None)


async def test_objects_of_one_message_are_written_at_once_within_one_folder(identity: Identity, account: Mapping[str, Any]) -> None:
    """Sixteen workers have sixteen requests in flight: their objects have no order to keep."""

    class Patient(Meeting, StorageServer):
        pass

    batch = [make_message(b"%d" % n, sequence=n) for n in range(1, 65)]
    async with Patient(identity).running() as server:
        server.create(BUCKET)
        config = configured(server, account, framing="payload", key="{topic}/{id}")
        await write_together(StorageSink, config, batch, 16)
        assert len(server.buckets[BUCKET].objects) == 64


@pytest.mark.parametrize(
    ("fields", "ordered"),
    [({"framing": "payload"}, False), ({"framing": "payload", "ordered": True}, True), ({}, True), ({"ordered": False}, False)],
)
async def test_objects_keep_an_order_where_they_hold_many_messages_or_where_the_user_asks(
    storage: StorageServer, account: Mapping[str, Any], fields: Mapping[str, Any], ordered: bool
) -> None:
    async with StorageSink.open(configured(storage, account, **fields), make_context()) as sink:
        assert (sink.order_of(make_message()) is not None) is ordered


async def test_an_object_says_what_the_configuration_says(storage: StorageServer, account: Mapping[str, Any]) -> None:
    config = configured(
        storage,
        account,
        storage_class="NEARLINE",
        metadata={"site": "plant-7"},
        kms_key=KMS,
        custom_time=True,
        content_type="application/x-plant",
        decompress_on_download=True,
    )
    item = await stored(storage, config, make_messages([b"1", b"2"]))
    assert item.resource == {
        "contentType": "application/x-plant",
        "contentEncoding": "gzip",
        "storageClass": "NEARLINE",
        "kmsKeyName": KMS,
        "customTime": "2026-11-20T10:00:00.124456Z",
        "metadata": {"site": "plant-7", "edgerouter": "archive 5p00l-1 2 2"},
    }


async def test_compression_may_be_said_instead_of_inferred(storage: StorageServer, account: Mapping[str, Any]) -> None:
    item = await stored(storage, configured(storage, account, key="{id}.jsonl", compression="zstd"), make_messages([b"1"]))
    assert item.resource["contentType"] == "application/zstd"
    assert item.unpacked().startswith(b'{"id":"5p00l-1"')


@pytest.mark.parametrize("resumable_above", [0, "8MiB"])
@pytest.mark.parametrize("may_look", [True, False])
async def test_a_retry_after_a_lost_answer_leaves_one_object_written_once(
    storage: StorageServer, identity: Identity, account: Mapping[str, Any], resumable_above: Any, may_look: bool
) -> None:
    if may_look:
        identity.grant(BUCKET, GET)
    batch = make_messages([b"1", b"2"])
    async with StorageSink.open(configured(storage, account, resumable_above=resumable_above), make_context()) as sink:
        await storage.lose_next_response()
        with pytest.raises(Unavailable):
            await sink.write(batch)
        assert not (await sink.write(batch)).failed
        assert not (await sink.write(batch)).failed
    assert storage.buckets[BUCKET].writes == ["plant/line-1/temperature/5p00l-1-2.jsonl.gz"]


async def test_each_fault_leaves_one_object_and_every_message(storage: StorageServer, account: Mapping[str, Any]) -> None:
    batch = make_messages([b"1", b"2"])
    faults: list[Any] = [storage.cut_next, storage.lose_next_response]
    answers = [GoogleError(503, "try again"), GoogleError(429, "slow"), GoogleError(500, "oops"), GoogleError(408, "late")]
    async with StorageSink.open(configured(storage, account), make_context()) as sink:
        for answer in answers:
            storage.script = [answer]
            with pytest.raises(Unavailable):
                await sink.write(batch)
        for fault in faults:
            await fault()
            with pytest.raises(Unavailable):
                await sink.write(batch)
        assert not (await sink.write(batch)).failed
    (item,) = storage.buckets[BUCKET].objects.values()
    assert len(storage.buckets[BUCKET].writes) == 1
    assert [json.loads(line)["payload"] for line in item.unpacked().splitlines()] == [1, 2]


async def test_the_same_batch_gives_the_same_bytes(storage: StorageServer, account: Mapping[str, Any]) -> None:
    batch = make_messages([b"x" * 50_000] * 3)
    first = await stored(storage, configured(storage, account), batch)
    storage.buckets[BUCKET].objects.clear()
    assert (await stored(storage, configured(storage, account), batch)).data == first.data


async def test_an_object_of_another_writer_under_our_name_is_not_taken_for_ours(
    storage: StorageServer, identity: Identity, account: Mapping[str, Any]
) -> None:
    identity.grant(BUCKET, GET)
    batch = make_messages([b"1"])
    async with StorageSink.open(configured(storage, account), make_context("one")) as sink:
        await sink.write(batch)
    async with StorageSink.open(configured(storage, account, framing="raw-lines"), make_context("two")) as sink:
        with pytest.raises(Unauthorized, match=r"holds something else; put \{sink\} into `key`"):
            await sink.write(batch)


MD5 = 'Provided MD5 hash "a" doesn\'t match calculated MD5 hash "b".'


@pytest.mark.parametrize("resumable_above", [0, "8MiB"])
async def test_bytes_that_were_damaged_on_their_way_are_sent_anew_in_a_new_session(
    storage: StorageServer, account: Mapping[str, Any], resumable_above: Any
) -> None:
    batch = make_messages([b"1", b"2"])
    async with StorageSink.open(configured(storage, account, resumable_above=resumable_above), make_context()) as sink:
        storage.script = [GoogleError(400, MD5)]
        with pytest.raises(Unavailable, match="MD5"):
            await sink.write(batch)
        assert not (await sink.write(batch)).failed
    assert len(storage.sessions) == (2 if resumable_above == 0 else 0)
    assert len(storage.buckets[BUCKET].writes) == 1


@pytest.mark.parametrize("may_look", [True, False])
async def test_the_sink_knows_whether_a_batch_is_stored_without_the_permission_to_look(
    storage: StorageServer, identity: Identity, account: Mapping[str, Any], may_look: bool
) -> None:
    if may_look:
        identity.grant(BUCKET, GET)
    batch = make_messages([b"1", b"2"])
    async with StorageSink.open(configured(storage, account), make_context()) as sink:
        assert await sink.holds(batch) is False
        await sink.write(batch)
        assert await sink.holds(batch) is True
        assert await sink.holds(batch[:1]) is False
    assert len(storage.buckets[BUCKET].writes) == 1


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (GoogleError(429, "slow", details=[{"retryDelay": "7s"}]), Throttled),
        (GoogleError(403, "too fast", code="userRateLimitExceeded"), Throttled),
        (GoogleError(503, "try again"), Unavailable),
        (GoogleError(410, "the session is gone"), Unavailable),
        (GoogleError(401, "who?"), Unavailable),
        (GoogleError(403, "may not"), Unauthorized),
        (GoogleError(404, "no bucket"), Unauthorized),
        (GoogleError(400, "Cloud KMS key is in another location"), Unauthorized),
        (GoogleError(400, MD5), Unavailable),
        (GoogleError(400, 'Provided CRC32C "a" doesn\'t match calculated CRC32C "b".'), Unavailable),
        (GoogleError(400, "Failed to parse Content-Range header."), Unavailable),
        (GoogleError(400, "Parse Error", code="parseError"), Unavailable),
        (GoogleError(400, "Bucket is requester pays", code="userProjectMissing"), Unauthorized),
        (GoogleError(400, "bad name"), Rejected),
        (GoogleError(413, "too large"), Rejected),
    ],
    ids=lambda value: f"{value.status}-{value.code}" if isinstance(value, GoogleError) else value.__name__,
)
async def test_each_of_googles_errors_says_what_happens_next(
    storage: StorageServer, account: Mapping[str, Any], answer: GoogleError, expected: type[Exception]
) -> None:
    async with StorageSink.open(configured(storage, account), make_context()) as sink:
        storage.script = [answer]
        with pytest.raises(expected) as caught:
            await sink.write(make_messages([b"1"]))
        assert type(caught.value) is expected
        if answer.details:
            assert getattr(caught.value, "retry_after", None) == 7


async def test_a_kms_key_that_cannot_be_used_keeps_the_data(storage: StorageServer, account: Mapping[str, Any]) -> None:
    storage.disabled_kms_keys.add(KMS)
    async with StorageSink.open(configured(storage, account, kms_key=KMS), make_context()) as sink:
        with pytest.raises(Unauthorized, match="KMS"):
            await sink.write(make_messages([b"1"]))


async def test_messages_of_different_folders_go_to_different_objects(storage: StorageServer, account: Mapping[str, Any]) -> None:
    async with StorageSink.open(configured(storage, account, key="{topic[1]}/{id}"), make_context()) as sink:
        parts = [sink.partition_of(make_message(topic=f"plant/{line}/t")) for line in ("a", "a", "b")]
        assert parts[0] == parts[1] != parts[2]
        assert sink.stable_batches


async def test_interim_answers_without_end_end_the_request(account: Mapping[str, Any]) -> None:
    async with asyncio.timeout(60), raw_http(partial(for_ever, unit=b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        config = StorageConfig.model_validate({"bucket": BUCKET, "endpoint": server.url, "key": KEY, **account})
        with pytest.raises(Unavailable, match=r"open bucket plant-archive: more than \d+ interim answers"):
            async with StorageSink.open(config, make_context()):
                pass


async def test_an_answer_without_end_ends_the_request(account: Mapping[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_MOST_ANSWER_BYTES", 1024**2)

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        await for_ever(writer, b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async with asyncio.timeout(60), raw_http(answer) as server:
        config = StorageConfig.model_validate({"bucket": BUCKET, "endpoint": server.url, "key": KEY, **account})
        with pytest.raises(Unavailable, match="exceeds 1048576 bytes"):
            async with StorageSink.open(config, make_context()):
                pass


async def test_compressed_answers_are_not_asked_for(storage: StorageServer, account: Mapping[str, Any]) -> None:
    async with StorageSink.open(configured(storage, account), make_context()) as sink:
        await sink.write(make_messages([b"1"]))
    assert {request.headers.get("Accept-Encoding") for request in storage.seen} == {"identity"}


async def test_a_404_that_is_not_of_google_is_not_a_missing_bucket(account: Mapping[str, Any]) -> None:
    async with raw_http(b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 8\r\n\r\nnot here") as server:
        config = StorageConfig.model_validate({"bucket": BUCKET, "endpoint": server.url, "key": KEY, **account})
        with pytest.raises(Unauthorized, match="404, and the answer is not one of Google's") as caught:
            async with StorageSink.open(config, make_context()):
                pass
    assert "no such bucket" not in str(caught.value)


async def test_tls_to_a_plain_port_is_explained(storage: StorageServer, account: Mapping[str, Any]) -> None:
    config = configured(storage, account).model_copy(update={"endpoint": storage.url.replace("http:", "https:")})
    with pytest.raises(Unauthorized, match="does not speak TLS on this port; is it http:// and not https://"):
        async with StorageSink.open(config, make_context()):
            pass
