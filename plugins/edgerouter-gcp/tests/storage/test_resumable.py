"""A large object arrives over a link that breaks: an interrupted upload resumes where it stopped."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random
from typing import Any

import pytest

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_gcp.storage.config import StorageConfig
from edgerouter_gcp.storage.sink import StorageSink
from support.google.storage import StorageServer

BUCKET = "plant-archive"


KEY = "{topic}/{id}.jsonl.gz"


def configured(server: StorageServer, account: Mapping[str, Any], **more: Any) -> StorageConfig:
    return StorageConfig.model_validate({"bucket": BUCKET, "endpoint": server.url, "key": KEY, **account, **more})


async def test_large_objects_go_in_a_resumable_session(storage: StorageServer, account: Mapping[str, Any]) -> None:
    config = configured(storage, account, key="{id}.bin", framing="payload", resumable_above="1MiB", custom_time=True)
    async with StorageSink.open(config, make_context("archive")) as sink:
        assert not (await sink.write([make_message(bytes(3 * 1024 * 1024))])).failed
    (item,) = storage.buckets[BUCKET].objects.values()
    assert item.upload_type == "resumable"
    assert len(item.data) == 3 * 1024 * 1024
    assert item.resource["metadata"] == {"edgerouter": "archive 5p00l-1 1 1"}
    assert item.resource["contentType"] == "application/octet-stream"


@pytest.mark.parametrize("status", [0, 503, 429, 308])
async def test_an_interrupted_upload_goes_on_where_it_ended(
    storage: StorageServer, account: Mapping[str, Any], status: int
) -> None:
    """So a large object arrives over a link that never lasts for the whole of it."""
    config = configured(storage, account, key="{id}.bin", framing="payload", resumable_above="1MiB")
    message = make_message(Random(1).randbytes(3 * 1024 * 1024))
    storage.interruptions = [(1024 * 1024, status), (1024 * 1024, status)]
    async with StorageSink.open(config, make_context()) as sink:
        for _ in () if status == 308 else range(2):  # 308 says itself where to go on
            with pytest.raises(Unavailable) as caught:
                await sink.write([message])
            assert "upload_id=." in str(caught.value) or "upload_id" not in str(caught.value), "its holder may write the object"
        assert not (await sink.write([message])).failed
    assert storage.pieces == [3 * 1024 * 1024, 2 * 1024 * 1024, 1024 * 1024]
    (item,) = storage.buckets[BUCKET].objects.values()
    assert item.data == message.payload
    assert len(storage.buckets[BUCKET].writes) == 1


async def test_an_upload_that_the_timeout_ends_goes_on_where_it_ended(storage: StorageServer, account: Mapping[str, Any]) -> None:
    config = configured(storage, account, key="{id}.bin", framing="payload", resumable_above="1MiB")
    message = make_message(bytes(2 * 1024 * 1024))
    storage.interruptions = [(1024 * 1024, 0)]
    async with StorageSink.open(config, make_context()) as sink:
        with pytest.raises(Unavailable):
            await sink.write([message])
        await storage.stall()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.3):
                await sink.write([message])
        await storage.heal()
        assert not (await sink.write([message])).failed
    assert storage.pieces[-1] == 1024 * 1024


@pytest.mark.parametrize("status", [404, 410])
async def test_an_upload_session_that_has_ended_is_begun_anew(
    storage: StorageServer, account: Mapping[str, Any], status: int
) -> None:
    config = configured(storage, account, resumable_above=0)
    storage.interruptions = [(1, status), (1, 0)]
    batch = make_messages([b"1", b"2"])
    async with StorageSink.open(config, make_context()) as sink:
        with pytest.raises(Unavailable, match="a new one is begun") as caught:
            await sink.write(batch)
        assert not isinstance(caught.value, Unauthorized)
        with pytest.raises(Unavailable):
            await sink.write(batch)
        storage.sessions.clear()  # it expired
        assert not (await sink.write(batch)).failed
    assert len(storage.buckets[BUCKET].writes) == 1


async def test_an_upload_session_that_gets_no_further_is_given_up(storage: StorageServer, account: Mapping[str, Any]) -> None:
    storage.interruptions = [(0, 503)] * 7
    async with StorageSink.open(configured(storage, account, resumable_above=0), make_context()) as sink:
        for _ in range(7):
            with pytest.raises(Unavailable):
                await sink.write(make_messages([b"1"]))
        assert not (await sink.write(make_messages([b"1"]))).failed
    assert len(storage.sessions) == 2


async def test_a_resumable_upload_that_fails_is_one_attempt(storage: StorageServer, account: Mapping[str, Any]) -> None:
    """gcloud-aio would try five times, with pauses of 1, 2, 4 and 8 seconds."""
    async with StorageSink.open(configured(storage, account, resumable_above=0), make_context()) as sink:
        await storage.fail()
        async with asyncio.timeout(10):
            with pytest.raises(Unavailable):
                await sink.write(make_messages([b"1"]))
    assert await storage.requests() == 1
