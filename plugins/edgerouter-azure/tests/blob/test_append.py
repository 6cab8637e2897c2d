"""An append lands once, in order, whatever happens to its answer, its blob or its sink."""

from __future__ import annotations

import asyncio
import gzip
import random
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import pytest
from aiohttp import web

from edgerouter import Message, Sink, Unauthorized, Unavailable
from edgerouter.testing import make_message, make_messages
from edgerouter_azure.blob import append
from edgerouter_azure.blob.sink import BlobSink
from support.azure.azurite import API_VERSION, Azurite, BlobRelay
from support.json_lines import received
from support.sinks import opened as open_sink


def opened(relay: BlobRelay, name: str = "archive", **fields: Any) -> AbstractAsyncContextManager[BlobSink]:
    own = {"connection_string": relay.connection_string(), "container": relay.container, "api_version": API_VERSION}
    given = {field: value for field, value in (own | fields).items() if value is not None}
    return open_sink(BlobSink, given, name=name)


def forget_as_a_restart_does() -> None:
    append.AppendBlobs._of_sinks.clear()


APPEND = {"blob_type": "append", "framing": "raw-lines", "key": "log.txt"}


async def test_batches_are_appended_in_their_order(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as sink:
        for number in range(5):
            await sink.write([make_message(b"%d" % number, sequence=number + 1)])
    assert relay.blobs() == {"log.txt": b"0\n1\n2\n3\n4\n"}


@pytest.mark.parametrize("framing", ["raw-lines", "jsonl", "length-prefixed"])
async def test_a_lost_response_does_not_append_twice(relay: BlobRelay, framing: Any) -> None:
    """Also where equal payloads follow each other, so that the bytes alone do not distinguish a retry."""
    same = [make_message(b"21.5", sequence=number + 1) for number in range(3)]
    async with opened(relay, **APPEND | {"framing": framing}) as sink:
        for message in same:
            await relay.lose_next_response()
            with pytest.raises(Unavailable):
                await sink.write([message])
            await sink.write([message])
    (data,) = relay.blobs().values()
    assert data.count(b"21.5") == 3


async def test_a_cut_request_is_appended_by_the_retry(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as sink:
        await sink.write(make_messages([b"1"]))
        await relay.cut_next()
        with pytest.raises(Unavailable):
            await sink.write(make_messages([b"2"], start=2))
        await sink.write(make_messages([b"2"], start=2))
    assert relay.blobs() == {"log.txt": b"1\n2\n"}


async def test_a_lost_response_does_not_append_twice_where_the_sink_is_opened_anew(relay: BlobRelay) -> None:
    """The router opens a sink again after some refusals; the unanswered append is still known, without ids."""
    async with opened(relay, **APPEND) as sink:
        await sink.write(make_messages([b"1"]))
        await relay.lose_next_response()
        with pytest.raises(Unavailable):
            await sink.write(make_messages([b"2"], start=2))
        await relay.refuse()
        with pytest.raises(Unauthorized):
            await sink.write(make_messages([b"2"], start=2))
        await relay.heal()
    async with opened(relay, **APPEND) as sink:
        await sink.write(make_messages([b"2"], start=2))
        await sink.write(make_messages([b"2"], start=3))
    assert relay.blobs() == {"log.txt": b"1\n2\n2\n"}


@pytest.mark.parametrize("key", ["log.jsonl", "log.jsonl.gz"])
async def test_json_lines_are_appended_once_across_a_restart(relay: BlobRelay, key: str) -> None:
    fields = APPEND | {"framing": "jsonl", "key": key}
    first, second = make_messages([b"1"]), make_messages([b"2"], start=2)
    async with opened(relay, **fields) as sink:
        await sink.write(first)
        await relay.lose_next_response()
        with pytest.raises(Unavailable):
            await sink.write(second)
    forget_as_a_restart_does()
    async with opened(relay, **fields) as sink:
        await sink.write(second)
        await sink.write(make_messages([b"3"], start=3))
    (data,) = relay.blobs().values()
    lines = (gzip.decompress(data) if key.endswith(".gz") else data).splitlines()
    assert [received(line).payload for line in lines] == [b"1", b"2", b"3"]


async def test_equal_lines_without_ids_are_not_taken_for_a_retry_after_a_restart(relay: BlobRelay) -> None:
    for number in (1, 2):
        forget_as_a_restart_does()
        async with opened(relay, **APPEND) as sink:
            await sink.write([make_message(b"21.5", sequence=number)])
    assert relay.blobs() == {"log.txt": b"21.5\n21.5\n"}


async def test_another_writer_is_noticed_and_nothing_is_lost(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as one, opened(relay, name="other", **APPEND) as other:
        await one.write(make_messages([b"1"]))
        await other.write(make_messages([b"2"], start=2))
        with pytest.raises(Unavailable, match="another writer"):
            await one.write(make_messages([b"3"], start=3))
        await one.write(make_messages([b"3"], start=3))
    assert relay.blobs() == {"log.txt": b"1\n2\n3\n"}


async def test_a_blob_that_would_grow_too_large_is_continued_in_another(relay: BlobRelay) -> None:
    payloads = [b"x" * 400_000, b"y" * 400_000, b"z" * 400_000]
    async with opened(relay, **APPEND | {"roll_bytes": "1MiB"}) as sink:
        for number, payload in enumerate(payloads[:2], 1):
            await sink.write([make_message(payload, sequence=number)])
        await sink.write([make_message(payloads[2], sequence=3)])
    async with opened(relay, **APPEND | {"roll_bytes": "1MiB"}) as sink:
        await sink.write([make_message(b"after a restart", sequence=4)])
    assert relay.blobs() == {
        "log.txt": b"x" * 400_000 + b"\n" + b"y" * 400_000 + b"\n",
        "log.1.txt": b"z" * 400_000 + b"\nafter a restart\n",
    }


async def test_a_message_over_the_size_to_roll_at_has_a_blob_to_itself(relay: BlobRelay) -> None:
    """It could be dead-lettered only if no blob could ever take it."""
    large = make_message(b"x" * 2 * 1024**2, sequence=2)
    messages = [make_message(b"1", sequence=1), large, make_message(b"3", sequence=3)]
    async with opened(relay, **APPEND | {"roll_bytes": "1MiB"}) as sink:
        for message in messages:
            assert sink.limits.max_bytes is not None
            assert sink.size_of(message) < sink.limits.max_bytes, "or the router dead-letters it"
            assert not (await sink.write([message])).failed
    assert relay.blobs() == {"log.txt": b"1\n", "log.1.txt": large.payload + b"\n", "log.2.txt": b"3\n"}


class MakesBlobsBadly(BlobRelay):
    """A service that answers 500 the first time that a blob is to be made, and makes it or not."""

    makes = False

    def __init__(self, azurite: Azurite, container: str) -> None:
        super().__init__(azurite, container)
        self._refused: set[str] = set()

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        made = request.headers.get("x-ms-blob-type") == "AppendBlob"
        if not made or request.path in self._refused:
            return await super().answer(request, body)
        self._refused.add(request.path)
        if self.makes:
            await super().answer(request, body)
        return self.broken()


@pytest.mark.parametrize("makes", [True, False])
async def test_a_part_that_could_not_be_made_is_not_left_out(azurite: Azurite, makes: bool) -> None:
    """A missing number would hide the later parts after a restart, and the last batch would be appended again."""
    fields = APPEND | {"framing": "jsonl", "key": "log.jsonl", "roll_bytes": "1MiB"}
    async with MakesBlobsBadly(azurite, azurite.new_container()).running() as relay:
        relay.makes = makes
        async with opened(relay, **fields) as sink:
            for number in range(4):
                message = make_message(b"x%d" % number * 300_000, sequence=number + 1)
                with suppress(Unavailable):
                    await sink.write([message])
                await sink.write([message])
        forget_as_a_restart_does()
        async with opened(relay, **fields) as sink:
            await sink.write([message])
        stored = relay.blobs()
    assert sorted(stored) == ["log.1.jsonl", "log.2.jsonl", "log.3.jsonl", "log.jsonl"]
    payloads = sorted(received(line).payload for data in stored.values() for line in data.splitlines())
    assert payloads == [b"x%d" % number * 300_000 for number in range(4)]


class FullAfterThree(BlobRelay):
    """A service whose append blobs take three blocks."""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.query.get("comp") == "appendblock":
            same = [line for line in self.log if line.startswith("PUT") and line == f"PUT {request.raw_path}"]
            if len(same) >= 3:
                return web.Response(status=409, headers={"x-ms-error-code": "BlockCountExceedsLimit"})
        return await super().answer(request, body)


async def test_a_blob_with_all_its_blocks_is_continued_in_another(azurite: Azurite) -> None:
    async with FullAfterThree(azurite, azurite.new_container()).running() as relay:
        async with opened(relay, **APPEND) as sink:
            for number in range(7):
                await sink.write([make_message(b"%d" % number, sequence=number + 1)])
        assert relay.blobs() == {"log.txt": b"0\n1\n2\n", "log.1.txt": b"3\n4\n5\n", "log.2.txt": b"6\n"}


async def test_a_blob_that_is_deleted_in_between_is_begun_again(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as sink:
        await sink.write(make_messages([b"1"]))
        with relay.azurite.service() as service:
            service.get_blob_client(relay.container, "log.txt").delete_blob()
        with pytest.raises(Unavailable):
            await sink.write(make_messages([b"2"], start=2))
        await sink.write(make_messages([b"2"], start=2))
    assert relay.blobs() == {"log.txt": b"2\n"}


async def test_many_growing_blobs_cost_no_more_memory_than_is_meant(relay: BlobRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "_MOST_KNOWN", 2)
    fields = APPEND | {"framing": "jsonl", "key": "{topic}/log.jsonl"}

    def message(round_: int, number: int) -> Message:
        return make_message(b"%d" % round_, topic=f"t{number}", sequence=round_ * 10 + number)

    async with opened(relay, **fields) as sink:
        for round_ in range(2):
            for number in range(4):
                await sink.write([message(round_, number)])
    assert {name: data.count(b"\n") for name, data in relay.blobs().items()} == {f"t{number}/log.jsonl": 2 for number in range(4)}


async def test_appends_that_are_cut_short_at_any_moment_land_once_and_in_order(relay: BlobRelay) -> None:
    dice = random.Random(5)
    payloads = [b"%d" % number for number in range(20)]

    async def insist(sink: Sink[Any], message: Message) -> None:
        while True:
            try:
                async with asyncio.timeout(dice.choice([0.003, 0.006, 0.012, 0.025, 5])):
                    await sink.write([message])
            except TimeoutError:
                continue
            return

    async def append_all(sink: Sink[Any], topic: str) -> None:
        for sequence, payload in enumerate(payloads, 1):
            await insist(sink, make_message(payload, topic=topic, sequence=sequence))

    async with opened(relay, **APPEND | {"key": "{topic}/log.txt"}) as sink, asyncio.TaskGroup() as tasks:
        for number in range(5):
            tasks.create_task(append_all(sink, f"t{number}"))
    assert relay.blobs() == {f"t{number}/log.txt": b"".join(payload + b"\n" for payload in payloads) for number in range(5)}
