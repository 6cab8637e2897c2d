"""Blob Storage beyond the contract: why it does not open, and what is in a blob.

Covers also: edgerouter_azure.blob.block, edgerouter_azure.blob.shared_signature.
"""

from __future__ import annotations

import gzip
from contextlib import AbstractAsyncContextManager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import pytest
import zstandard
from aiohttp import web
from azure.storage.blob import AccountSasPermissions, ResourceTypes, generate_account_sas

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_message, make_messages
from edgerouter_azure.blob.sink import BlobSink
from support.azure.azurite import ACCOUNT, API_VERSION, KEY, Azurite, BlobRelay
from support.sinks import opened as open_sink


def opened(relay: BlobRelay, name: str = "archive", **fields: Any) -> AbstractAsyncContextManager[BlobSink]:
    own = {"connection_string": relay.connection_string(), "container": relay.container, "api_version": API_VERSION}
    given = {field: value for field, value in (own | fields).items() if value is not None}
    return open_sink(BlobSink, given, name=name)


def by_account(relay: BlobRelay, **secret: str) -> dict[str, Any]:
    """Return the fields that name the account, not its connection string."""
    return {"connection_string": None, "account": ACCOUNT, "endpoint": f"{relay.url}/{ACCOUNT}", **secret}


async def open_error(relay: BlobRelay, **fields: Any) -> str:
    with pytest.raises(Unauthorized) as caught:
        async with opened(relay, **fields):
            pass
    return str(caught.value)


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
    (stored,) = relay.blobs().values()
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
    assert len(relay.blobs()) == 1


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
    assert len(relay.blobs()) == 1


async def test_the_key_of_an_account_is_enough(relay: BlobRelay) -> None:
    async with opened(relay, **by_account(relay, account_key=KEY)) as sink:
        await sink.write(make_messages([b"1"]))
    assert len(relay.blobs()) == 1


async def test_a_blob_for_each_message_holds_its_payload(relay: BlobRelay) -> None:
    async with opened(relay, framing="payload", key="{topic}/{id}") as sink:
        assert sink.limits.max_messages == 1
        for message in make_messages([bytes(range(256)), b""]):
            await sink.write([message])
    assert relay.blobs() == {"plant/line-1/temperature/5p00l-1": bytes(range(256)), "plant/line-1/temperature/5p00l-2": b""}


@pytest.mark.parametrize("ending", ["gz", "zst"])
async def test_the_end_of_the_name_says_how_a_blob_is_compressed(relay: BlobRelay, ending: str) -> None:
    async with opened(relay, framing="raw-lines", key="{id}.txt." + ending) as sink:
        await sink.write(make_messages([b"a", b"b"]))
    (data,) = relay.blobs().values()
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
    assert sorted(relay.blobs().values()) == [b"1\n2\n3\n", b"1\n3\n"]


async def test_overwriting_replaces_what_is_there(relay: BlobRelay) -> None:
    async with opened(relay, framing="raw-lines", key="{id}.txt", overwrite=True) as sink:
        for payload in (b"old", b"new"):
            await sink.write([make_message(payload)])
    assert relay.blobs() == {"5p00l-1.txt": b"new\n"}
