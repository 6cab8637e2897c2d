"""Blob Storage beyond the contract: why it does not open, what is in a blob, and that an append lands once.

Covers also: edgerouter_azure.blob.append, edgerouter_azure.blob.block, edgerouter_azure.blob.config,
edgerouter_azure.blob.shared_signature.
"""

from __future__ import annotations

import asyncio
import gzip
import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import zstandard
from aiohttp import web
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas
from pydantic import ValidationError

from edgerouter import Message, Sink, Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_azure.blob import append
from edgerouter_azure.blob.config import BlobConfig
from edgerouter_azure.blob.sink import BlobSink
from support.azure.azurite import ACCOUNT, API_VERSION, KEY, Azurite, BlobRelay
from support.json_lines import received


@pytest.fixture
async def relay(azurite: Azurite) -> AsyncIterator[BlobRelay]:
    async with BlobRelay(azurite, azurite.new_container()).running() as running:
        yield running


@asynccontextmanager
async def opened(relay: BlobRelay, sink: str = "archive", **fields: Any) -> AsyncIterator[Sink[Any]]:
    async with BlobSink.open(config_of(relay, **fields), make_context(sink)) as opened_sink:
        yield opened_sink


def config_of(relay: BlobRelay, **fields: Any) -> BlobConfig:
    own: dict[str, Any] = {"connection_string": relay.connection_string(), "container": relay.container, "api_version": API_VERSION}
    return BlobConfig.model_validate({name: value for name, value in (own | fields).items() if value is not None})


def by_account(relay: BlobRelay, **secret: str) -> dict[str, Any]:
    """Return the fields that name the account, not its connection string."""
    return {"connection_string": None, "account": ACCOUNT, "endpoint": f"{relay.url}/{ACCOUNT}", **secret}


async def open_error(relay: BlobRelay, **fields: Any) -> str:
    with pytest.raises(Unauthorized) as caught:
        async with opened(relay, **fields):
            pass
    return str(caught.value)


def forget_as_a_restart_does() -> None:
    append.AppendBlobs._of_sinks.clear()


def blobs(relay: BlobRelay) -> dict[str, bytes]:
    return relay.azurite.blobs(relay.container)


# -- what is stored


@pytest.mark.parametrize("blob_type", ["block", "append"])
async def test_the_sink_knows_whether_a_batch_is_stored(relay: BlobRelay, blob_type: str) -> None:
    batch = make_messages([b"1", b"2"])
    async with opened(relay, blob_type=blob_type) as sink:
        assert await sink.holds(batch) is False
        await relay.lose_next_response()
        with pytest.raises(Unavailable):
            await sink.write(batch)
        assert await sink.holds(batch) is True
        assert await sink.holds(batch[:1]) is False
        assert not (await sink.write(batch)).failed
    (stored,) = blobs(relay).values()
    assert len(gzip.decompress(stored).splitlines()) == 2


@pytest.mark.parametrize("blob_type", ["block", "append"])
async def test_the_receipt_of_a_blob_is_its_etag(relay: BlobRelay, blob_type: str) -> None:
    batch = make_messages([b"1", b"2"])
    async with opened(relay, blob_type=blob_type) as sink:
        outcome = await sink.write(batch)
        again = await sink.write(batch)
    with relay.azurite.service() as service:
        (found,) = service.get_container_client(relay.container).list_blobs()
    assert (str(outcome.receipts).strip('"'), again.receipts) == (found.etag.strip('"'), None)


# -- why it does not open


async def test_a_wrong_key_is_reported_without_showing_it(relay: BlobRelay) -> None:
    text = relay.azurite.connection_string(f"{relay.url}/{ACCOUNT}", key="bm90IHRoZSBrZXk=")
    error = await open_error(relay, connection_string=text)
    assert "failed to authenticate" in error
    assert "bm90IHRoZSBrZXk=" not in error


async def test_a_key_that_is_not_base64_is_refused_without_showing_it(relay: BlobRelay) -> None:
    text = relay.azurite.connection_string(f"{relay.url}/{ACCOUNT}", key="no base64")
    assert "no base64" not in await open_error(relay, connection_string=text)


async def test_a_missing_container_is_named_where_it_is_not_to_be_made(relay: BlobRelay) -> None:
    assert f"no container {relay.container}" in await open_error(relay, create_container=False)


async def test_a_missing_container_is_made(relay: BlobRelay) -> None:
    async with opened(relay):
        pass
    with relay.azurite.service() as service:
        assert service.get_container_client(relay.container).exists()


async def test_an_unknown_version_of_the_interface_is_refused(relay: BlobRelay) -> None:
    assert "InvalidHeaderValue" in await open_error(relay, api_version="2026-10-06"), "by the service"
    assert "Unsupported API version" in await open_error(relay, api_version="2099-01-01"), "by the SDK"


class Clockwork(BlobRelay):
    """Refuses as the service does when the request is dated wrongly."""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        now = format_datetime(datetime.now(UTC) + timedelta(minutes=90), usegmt=True)
        return web.Response(status=403, headers={"x-ms-error-code": "AuthenticationFailed", "Date": now})


async def test_the_error_of_a_wrong_clock_names_the_difference(azurite: Azurite) -> None:
    async with Clockwork(azurite, azurite.new_container()).running() as relay:
        assert "90 minutes behind" in await open_error(relay)


async def test_a_missing_role_is_named(relay: BlobRelay) -> None:
    await relay.refuse()
    assert "Storage Blob Data Contributor" in await open_error(relay)


async def test_a_signature_that_allows_only_writing_is_enough(relay: BlobRelay) -> None:
    with relay.azurite.service() as service:
        service.create_container(relay.container)
    token = generate_account_sas(
        ACCOUNT, KEY, ResourceTypes(object=True), AccountSasPermissions(write=True), datetime.now(UTC) + timedelta(hours=1)
    )
    async with opened(relay, **by_account(relay, sas_token=token)) as sink:
        batch = make_messages([b"1", b"2"])
        await sink.write(batch)
        await sink.write(batch)
    assert len(blobs(relay)) == 1


LOGIN_FAILED = "Server failed to authenticate the request. Make sure the value of Authorization header is formed correctly."
DETAILS = {
    # as the service words them
    "The MAC signature found in the HTTP request 'q0bb=' is not the same as any computed signature. Server used following string "
    "to sign: 'GET /plant'.": "the key is wrong",
    "Request date header too old: 'Fri, 20 Nov 2026 10:00:00 GMT'": "is the device's clock right?",
    "Signature not valid in the specified time frame: Start [Fri] - Expiry [Sat] - Current [Sun]": "is the device's clock right?",
    "Signature did not match. String to sign used was racwdl": "the key is wrong",
}


class Gatekeeper(BlobRelay):
    """Refuses each login, with the reason beside its message, as the service does and Azurite does not."""

    detail = ""

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        said = f"<Message>{LOGIN_FAILED}\nRequestId:1\nTime:2</Message>"
        said += f"<AuthenticationErrorDetail>{self.detail}</AuthenticationErrorDetail>"
        text = f"\ufeff<?xml version='1.0' encoding='utf-8'?><Error><Code>AuthenticationFailed</Code>{said}</Error>"
        headers = {"x-ms-error-code": "AuthenticationFailed", "Content-Type": "application/xml"}
        return web.Response(status=403, headers=headers, body=text.encode())


@pytest.mark.parametrize("signature", [False, True], ids=["with a key", "with a signature"])
@pytest.mark.parametrize(("detail", "expected"), DETAILS.items())
async def test_the_error_of_a_refused_login_explains_it_by_the_detail_of_the_service(
    azurite: Azurite, detail: str, expected: str, signature: bool
) -> None:
    async with Gatekeeper(azurite, azurite.new_container()).running() as relay:
        relay.detail = detail
        fields: dict[str, Any] = {"sas_token": "sp=rcw&sig=c2ln", "account": ACCOUNT, "connection_string": None}
        error = await open_error(relay, **(fields | {"endpoint": f"{relay.url}/{ACCOUNT}"} if signature else {}))
    assert expected in error
    assert "q0bb=" not in error
    assert "racwdl" not in error


@pytest.mark.parametrize(
    ("terms", "expected"),
    [
        ("sp=rl&se=2099-01-01T00:00:00Z", "allows only `rl`"),
        ("sp=cw&se=2026-01-01T00:00:00Z", "expired at 2026-01-01 00:00:00 UTC"),
        ("sp=cw&st=2098-01-01T00%3A00%3A00Z&se=2099-01-01", "not valid before 2098-01-01"),
    ],
)
async def test_a_signature_that_cannot_write_now_is_refused_with_the_reason(relay: BlobRelay, terms: str, expected: str) -> None:
    assert expected in await open_error(relay, **by_account(relay, sas_token=f"{terms}&sig=c2ln"))


async def test_spaces_and_empty_parts_in_a_connection_string_do_no_harm(relay: BlobRelay) -> None:
    parts = reversed(relay.connection_string().split(";"))
    async with opened(relay, connection_string=" " + " ; ".join(parts) + ";; ") as sink:
        await sink.write(make_messages([b"1"]))
    assert len(blobs(relay)) == 1


async def test_the_key_of_an_account_is_enough(relay: BlobRelay) -> None:
    async with opened(relay, **by_account(relay, account_key=KEY)) as sink:
        await sink.write(make_messages([b"1"]))
    assert len(blobs(relay)) == 1


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "either connection_string or account"),
        ({"account": "plant", "key": "{topic}.jsonl"}, "same key"),
        ({"account": "plant", "blob_type": "append", "tier": "cool"}, "no tier"),
        ({"account": "plant", "blob_type": "append", "framing": "payload"}, "a blob for each message"),
        ({"account": "plant", "metadata": {"a-b": "c"}}, "identifiers"),
        # the service would answer each write as if the key were wrong
        ({"account": "plant", "metadata": {"site": "Zürich"}}, "of ASCII, without spaces at their ends: site"),
        ({"account": "plant", "metadata": {"site": "north "}}, "of ASCII, without spaces at their ends: site"),
        ({"account": "plant", "content_type": "text/ö"}, "match pattern"),
        ({"account": "plant", "tags": {"plant": "x*y", "line": "a b"}}, "at most 128 and 256 characters: plant"),
        ({"account": "plant", "account_key": "a", "sas_token": "b"}, "account_key stands beside account alone"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        BlobConfig.model_validate({"container": "archive", **fields})
    assert problem in "\n".join(str(error["msg"]) for error in caught.value.errors(include_input=False))


# -- what is in a blob


async def test_a_blob_for_each_message_holds_its_payload(relay: BlobRelay) -> None:
    async with opened(relay, framing="payload", key="{topic}/{id}") as sink:
        assert sink.limits.max_messages == 1
        for message in make_messages([bytes(range(256)), b""]):
            await sink.write([message])
    assert blobs(relay) == {"plant/line-1/temperature/5p00l-1": bytes(range(256)), "plant/line-1/temperature/5p00l-2": b""}


@pytest.mark.parametrize("ending", ["gz", "zst"])
async def test_the_end_of_the_name_says_how_a_blob_is_compressed(relay: BlobRelay, ending: str) -> None:
    async with opened(relay, framing="raw-lines", key="{id}.txt." + ending) as sink:
        await sink.write(make_messages([b"a", b"b"]))
    (data,) = blobs(relay).values()
    assert (gzip.decompress(data) if ending == "gz" else zstandard.ZstdDecompressor().decompress(data)) == b"a\nb\n"


async def test_a_blob_has_the_properties_that_were_asked_for(relay: BlobRelay) -> None:
    async with opened(
        relay, tier="cool", metadata={"site": "north"}, tags={"line": "1"}, content_type="text/csv", key="{id}.gz"
    ) as sink:
        await sink.write(make_messages([b"1"]))
    with relay.azurite.service() as service:
        blob = service.get_blob_client(relay.container, "5p00l-1.gz")
        found = blob.get_blob_properties()
        assert (found.blob_tier, found.metadata, blob.get_blob_tags()) == ("Cool", {"site": "north"}, {"line": "1"})
        assert (found.content_settings.content_type, found.content_settings.content_encoding) == ("text/csv", "gzip")


async def test_a_name_that_holds_another_batch_is_kept_and_ours_gets_a_mark(relay: BlobRelay) -> None:
    """A replay with other filters can have the same first and last message; neither batch may be lost."""
    first, middle, last = make_messages([b"1", b"2", b"3"])
    async with opened(relay, framing="raw-lines", key="{id}.txt") as sink:
        for batch in ([first, last], [first, middle, last], [first, middle, last]):
            await sink.write(batch)
    assert sorted(blobs(relay).values()) == [b"1\n2\n3\n", b"1\n3\n"]


async def test_overwriting_replaces_what_is_there(relay: BlobRelay) -> None:
    async with opened(relay, framing="raw-lines", key="{id}.txt", overwrite=True) as sink:
        for payload in (b"old", b"new"):
            await sink.write([make_message(payload)])
    assert blobs(relay) == {"5p00l-1.txt": b"new\n"}


# -- an append lands once

APPEND = {"blob_type": "append", "framing": "raw-lines", "key": "log.txt"}


async def test_batches_are_appended_in_their_order(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as sink:
        for number in range(5):
            await sink.write([make_message(b"%d" % number, sequence=number + 1)])
    assert blobs(relay) == {"log.txt": b"0\n1\n2\n3\n4\n"}


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
    (data,) = blobs(relay).values()
    assert data.count(b"21.5") == 3


async def test_a_cut_request_is_appended_by_the_retry(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as sink:
        await sink.write(make_messages([b"1"]))
        await relay.cut_next()
        with pytest.raises(Unavailable):
            await sink.write(make_messages([b"2"], start=2))
        await sink.write(make_messages([b"2"], start=2))
    assert blobs(relay) == {"log.txt": b"1\n2\n"}


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
    assert blobs(relay) == {"log.txt": b"1\n2\n2\n"}


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
    (data,) = blobs(relay).values()
    lines = (gzip.decompress(data) if key.endswith(".gz") else data).splitlines()
    assert [received(line).payload for line in lines] == [b"1", b"2", b"3"]


async def test_equal_lines_without_ids_are_not_taken_for_a_retry_after_a_restart(relay: BlobRelay) -> None:
    for number in (1, 2):
        forget_as_a_restart_does()
        async with opened(relay, **APPEND) as sink:
            await sink.write([make_message(b"21.5", sequence=number)])
    assert blobs(relay) == {"log.txt": b"21.5\n21.5\n"}


async def test_another_writer_is_noticed_and_nothing_is_lost(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as one, opened(relay, sink="other", **APPEND) as other:
        await one.write(make_messages([b"1"]))
        await other.write(make_messages([b"2"], start=2))
        with pytest.raises(Unavailable, match="another writer"):
            await one.write(make_messages([b"3"], start=3))
        await one.write(make_messages([b"3"], start=3))
    assert blobs(relay) == {"log.txt": b"1\n2\n3\n"}


async def test_a_blob_that_would_grow_too_large_is_continued_in_another(relay: BlobRelay) -> None:
    payloads = [b"x" * 400_000, b"y" * 400_000, b"z" * 400_000]
    async with opened(relay, **APPEND | {"roll_bytes": "1MiB"}) as sink:
        for number, payload in enumerate(payloads[:2], 1):
            await sink.write([make_message(payload, sequence=number)])
        await sink.write([make_message(payloads[2], sequence=3)])
    async with opened(relay, **APPEND | {"roll_bytes": "1MiB"}) as sink:
        await sink.write([make_message(b"after a restart", sequence=4)])
    assert blobs(relay) == {
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
    assert blobs(relay) == {"log.txt": b"1\n", "log.1.txt": large.payload + b"\n", "log.2.txt": b"3\n"}


def test_a_size_to_roll_at_that_few_messages_reach_is_refused() -> None:
    with pytest.raises(ValidationError, match="roll_bytes"):
        BlobConfig(account="plant", container="archive", blob_type="append", roll_bytes="1KiB")  # type: ignore[arg-type]


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
        stored = blobs(relay)
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
        assert blobs(relay) == {"log.txt": b"0\n1\n2\n", "log.1.txt": b"3\n4\n5\n", "log.2.txt": b"6\n"}


async def test_a_blob_that_is_deleted_in_between_is_begun_again(relay: BlobRelay) -> None:
    async with opened(relay, **APPEND) as sink:
        await sink.write(make_messages([b"1"]))
        with relay.azurite.service() as service:
            service.get_blob_client(relay.container, "log.txt").delete_blob()
        with pytest.raises(Unavailable):
            await sink.write(make_messages([b"2"], start=2))
        await sink.write(make_messages([b"2"], start=2))
    assert blobs(relay) == {"log.txt": b"2\n"}


async def test_many_growing_blobs_cost_no_more_memory_than_is_meant(relay: BlobRelay, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(append, "_MOST_KNOWN", 2)
    fields = APPEND | {"framing": "jsonl", "key": "{topic}/log.jsonl"}

    def message(round_: int, number: int) -> Message:
        return make_message(b"%d" % round_, topic=f"t{number}", sequence=round_ * 10 + number)

    async with opened(relay, **fields) as sink:
        for round_ in range(2):
            for number in range(4):
                await sink.write([message(round_, number)])
    assert {name: data.count(b"\n") for name, data in blobs(relay).items()} == {f"t{number}/log.jsonl": 2 for number in range(4)}


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
    assert blobs(relay) == {f"t{number}/log.txt": b"".join(payload + b"\n" for payload in payloads) for number in range(5)}
