"""Uploads to a bucket in parts, the check at the start, and what S3 answers when it refuses."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_messages
from edgerouter_aws.s3.sink import S3Sink
from support.aws.s3 import S3Error, S3Server
from support.raw_http import raw_http
from support.sinks import opened as open_sink


def opened(s3: S3Server, keys: dict[str, Any], **more: Any) -> AbstractAsyncContextManager[S3Sink]:
    return open_sink(S3Sink, {"bucket": s3.bucket, "endpoint_url": s3.url, **keys, **more})


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

    async with Looking().running() as looking:
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

    async with Refusing().running() as refusing:
        with pytest.raises(Unauthorized, match=f"{code}.*no such ACL"):
            async with opened(refusing, keys, acl="nonsense"):
                pass


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
    fields = {"bucket": s3.bucket, "endpoint_url": s3.url, **keys}
    async with open_sink(S3Sink, fields) as sink:
        assert not (await sink.write(make_messages([b"1"]))).failed
    with pytest.raises(Unauthorized, match="kms:Decrypt"):
        async with open_sink(S3Sink, fields, probe=True):
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

    async with Portal().running() as portal, opened(portal, keys, probe=False) as sink:
        with pytest.raises(Unavailable, match="captive portal"):
            await sink.write(make_messages([b"1"]))
