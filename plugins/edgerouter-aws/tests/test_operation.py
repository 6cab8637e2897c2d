"""Requests and errors of an operation are those of the SDK's own call."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
from aiohttp import web
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from edgerouter import Rejected, Unauthorized, Unavailable
from edgerouter_aws.errors import Call, UnexpectedAnswer, translated
from edgerouter_aws.operation import Operation
from edgerouter_aws.session import AwsSettings, open_client
from support.raw_http import raw_http

URL = "https://sqs.eu-west-1.amazonaws.com/123456789012/plant"
CALL = Call("queue plant", "sqs:SendMessage")
ENTRIES = [{"Id": "0", "MessageBody": "x", "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": b"\xff"}}}]
BODY = json.dumps(
    {"QueueUrl": URL, "Entries": [{**ENTRIES[0], "MessageAttributes": {"a": {"DataType": "Binary", "BinaryValue": "/w=="}}}]}
)
OF_ONE_REQUEST = ("X-Amz-Date", "Authorization", "amz-sdk-invocation-id", "amz-sdk-request")


@dataclass
class Recorder:
    """Keeps requests, and answers all of them alike."""

    requests: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)
    status: int = 200
    body: bytes = b'{"Successful": []}'
    headers: Mapping[str, str] = field(default_factory=dict)
    url: str = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        self.requests.append((str(request.url), dict(request.headers), await request.read()))
        return web.Response(status=self.status, body=self.body, headers=self.headers)


@pytest.fixture
async def service() -> AsyncIterator[Recorder]:
    recorder = Recorder()
    runner = web.ServerRunner(web.Server(recorder.answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    recorder.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield recorder
    await runner.cleanup()


@asynccontextmanager
async def opened(**fields: Any) -> AsyncIterator[tuple[Any, Operation]]:
    async with open_client("sqs", AwsSettings(**{"region": "eu-west-1", **fields}), CALL) as client:
        yield client, await Operation.prepare(client, "SendMessageBatch", QueueUrl=URL, Entries=[])


@pytest.mark.parametrize(("token", "size"), [(None, 1), ("a-session-token", 1), (None, 900_000)])
async def test_a_request_is_that_of_the_sdk(service: Recorder, keys: dict[str, Any], token: str | None, size: int) -> None:
    """A large one too, whose body is written in pieces."""
    keys["session_token"] = token
    entries = [{**ENTRIES[0], "MessageBody": "x" * size}]
    async with opened(**keys, endpoint_url=service.url) as (client, send):
        await client.send_message_batch(QueueUrl=URL, Entries=entries)
        await send(BODY.replace('"x"', json.dumps("x" * size)).encode())
    (url, headers, body), (ours_url, ours_headers, ours_body) = service.requests
    assert (ours_url, json.loads(ours_body)) == (url, json.loads(body))
    for name in OF_ONE_REQUEST:
        headers.pop(name)
        ours_headers.pop(name, None)
    assert ours_headers == headers


async def test_the_signature_fits_what_arrives(service: Recorder, keys: dict[str, Any]) -> None:
    """Host included, which the connection adds and not the signer."""
    async with opened(**keys, endpoint_url=service.url) as (_, send):
        await send(BODY.encode())
    ((url, headers, body),) = service.requests
    auth = SigV4Auth(Credentials(keys["access_key_id"], keys["secret_access_key"], keys["session_token"]), "sqs", "eu-west-1")
    signed = headers["Authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
    assert {"host", "content-type", "x-amz-date", "x-amz-target", "x-amz-security-token"} <= set(signed)
    request = AWSRequest("POST", url, {name: value for name, value in headers.items() if name.lower() in signed}, body)
    request.context["timestamp"] = headers["X-Amz-Date"]
    expected = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
    assert headers["Authorization"].endswith(f"Signature={expected}")


@pytest.mark.parametrize(
    ("fields", "url"),
    [
        ({}, "https://sqs.eu-west-1.amazonaws.com/"),
        ({"region": "us-east-1", "use_fips_endpoint": True}, "https://sqs-fips.us-east-1.amazonaws.com/"),
        ({"use_dualstack_endpoint": True}, "https://sqs.eu-west-1.api.aws/"),
        ({"region": "cn-north-1"}, "https://sqs.cn-north-1.amazonaws.com.cn/"),
        (
            {"endpoint_url": "https://vpce-0a-b1.sqs.eu-west-1.vpce.amazonaws.com"},
            "https://vpce-0a-b1.sqs.eu-west-1.vpce.amazonaws.com/",
        ),
    ],
)
async def test_the_endpoint_is_the_one_that_the_sdk_resolves_without_a_request_or_credentials(
    fields: dict[str, Any], url: str
) -> None:
    async with opened(**fields) as (_, send):
        assert send.url == url


NOT_THERE = {"x-amzn-query-error": "AWS.SimpleQueueService.NonExistentQueue;Sender"}
ERRORS = [
    (400, b'{"__type": "com.amazonaws.sqs#QueueDoesNotExist", "message": "no"}', NOT_THERE),
    (400, b'{"__type": "com.amazonaws.sqs#InvalidMessageContents", "Message": "bad"}', {}),
    (400, b'{"__type": "com.amazon.coral.service#RequestThrottled", "message": "slow"}', {"Retry-After": "3"}),
    (403, b'{"__type": "InvalidSignatureException", "message": "skewed"}', {"Date": "Thu, 01 Jan 2015 00:00:00 GMT"}),
    (403, b'{"__type": "ExpiredTokenException", "message": "expired"}', {}),
    (403, b'{"__type": "AccessDeniedException", "message": "not authorized"}', {}),
    (503, b"<html>Service Unavailable</html>", {}),
    (400, b"<ErrorResponse><Error><Code>OverLimit</Code><Message>many</Message></Error></ErrorResponse>", {}),
    (500, b"", {}),
    (429, b"\x1f\x8b\xff", {"Retry-After": "1"}),
    (404, b"[]", {}),
    (418, b'{"__type": "Teapot"}', {}),
    (400, b'{"__type": null, "message": null}', {}),
]  # fmt: skip


async def _error(sending: Any) -> tuple[type[Exception], str, float | None]:
    with pytest.raises((Unavailable, Rejected, UnexpectedAnswer)) as caught, translated(CALL):
        await sending
    return caught.type, str(caught.value), getattr(caught.value, "retry_after", None)


@pytest.mark.parametrize(("status", "body", "headers"), ERRORS)
async def test_an_error_is_that_of_the_sdk(
    service: Recorder, keys: dict[str, Any], status: int, body: bytes, headers: Mapping[str, str]
) -> None:
    service.status, service.body, service.headers = status, body, headers
    async with opened(**keys, endpoint_url=service.url) as (client, send):
        assert await _error(send(BODY.encode())) == await _error(client.send_message_batch(QueueUrl=URL, Entries=ENTRIES))


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{", b"nonsense\r\n\r\n"])
async def test_a_lost_connection_is_that_of_the_sdk(keys: dict[str, Any], answer: bytes) -> None:
    async def write_and_close(writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with raw_http(write_and_close) as service, opened(**keys, endpoint_url=service.url) as (client, send):
        kind, text, _ = await _error(send(BODY.encode()))
        assert (kind, text) == (await _error(client.send_message_batch(QueueUrl=URL, Entries=ENTRIES)))[:2]
        assert kind is Unavailable


async def test_missing_credentials_are_those_of_the_sdk() -> None:
    async with opened() as (client, send):
        kind, text, _ = await _error(send(BODY.encode()))
        assert (kind, text) == (await _error(client.send_message_batch(QueueUrl=URL, Entries=ENTRIES)))[:2]
        assert kind is Unauthorized


async def test_the_service_takes_version_4_signatures_alone() -> None:
    """Another scheme in a new version of the SDK would need another signer."""
    async with opened() as (client, _):
        assert client.meta.service_model.metadata["auth"] == ["aws.auth#sigv4"]
        assert client.meta.service_model.operation_model("SendMessageBatch").auth is None
