"""An operation goes over the SDK's connections, through proxies and TLS, and fails as the SDK's own calls do."""

from __future__ import annotations

import asyncio
import base64
import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from edgerouter import Unauthorized, Unavailable
from edgerouter_aws.errors import Call, translated
from edgerouter_aws.operation import Operation
from edgerouter_aws.session import AwsSettings, open_client
from support.certificates import Authority
from support.proxy import Proxy
from support.raw_http import for_ever, raw_http

OK = b'HTTP/1.1 200 OK\r\nContent-Length: 17\r\n\r\n{"Successful":[]}'
ENTRIES: list[Any] = []
BODY = b'{"QueueUrl":"http://q/1/plant","Entries":[]}'


@asynccontextmanager
async def opened(keys: dict[str, Any], **fields: Any) -> AsyncIterator[tuple[Any, Operation]]:
    """The SDK's client, and the operation that goes past it."""
    call = Call("queue plant", "sqs:SendMessage")
    async with open_client("sqs", AwsSettings(**keys, **fields), call) as client:
        yield client, await Operation.prepare(client, "SendMessageBatch", QueueUrl="http://q/1/plant", Entries=ENTRIES)


async def failing_alike(client: Any, send: Operation) -> Unavailable:
    """Return the error of a request, after comparing it with that of the SDK's own call."""
    errors = []
    for sending in (send(BODY), client.send_message_batch(QueueUrl="http://q/1/plant", Entries=ENTRIES)):
        with pytest.raises(Unavailable) as caught, translated(Call("queue plant", "sqs:SendMessage")):
            await sending
        errors.append(caught.value)
    ours, of_sdk = errors
    assert (type(ours), str(ours)) == (type(of_sdk), str(of_sdk))
    return ours


def fields_of(head: bytes) -> tuple[str, dict[str, str]]:
    """Return the request line, and the headers but for those of one request alone."""
    line, *lines = head.decode().split("\r\n")[:-2]
    headers = dict(each.split(": ", 1) for each in lines)
    for name in ("X-Amz-Date", "Authorization", "amz-sdk-invocation-id", "amz-sdk-request"):
        headers.pop(name, None)
    return line, headers


async def test_interim_answers_without_end_end_the_request(keys: dict[str, Any]) -> None:
    unending = partial(for_ever, unit=b"HTTP/1.1 100 Continue\r\n\r\n")
    async with asyncio.timeout(60), raw_http(unending) as server, opened(keys, endpoint_url=server.url) as (client, send):
        assert "interim answers" in str(await failing_alike(client, send))


async def test_a_port_where_nothing_listens_is_unavailable(keys: dict[str, Any]) -> None:
    async with opened(keys, endpoint_url="http://127.0.0.1:9") as (client, send):
        assert "Could not connect" in str(await failing_alike(client, send))


async def test_a_service_that_hangs_in_connecting_is_given_up(keys: dict[str, Any]) -> None:
    """A black hole: packets go out and nothing comes back."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        clients = [socket.socket() for _ in range(4)]
        try:
            for client in clients:
                client.setblocking(False)
                client.connect_ex(full.getsockname())
            url = f"http://127.0.0.1:{full.getsockname()[1]}"
            async with opened(keys, endpoint_url=url, connect_timeout="100ms") as (of_sdk, send):
                assert "Connect timeout" in str(await failing_alike(of_sdk, send))
        finally:
            for client in clients:
                client.close()


async def test_a_connection_that_is_reset_fails_as_by_the_sdk(keys: dict[str, Any]) -> None:
    async def reset(writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        writer.transport.abort()

    async with raw_http(reset) as server, opened(keys, endpoint_url=server.url) as (client, send):
        await failing_alike(client, send)


async def test_a_plain_request_names_the_whole_address_to_the_proxy(keys: dict[str, Any]) -> None:
    """With the proxy's password, as the SDK's own does, over one connection."""
    async with raw_http(OK) as server:
        proxy = server.url.replace("//", "//user:hush@")
        async with opened(keys, endpoint_url="http://sqs.internal.example:81", proxy=proxy) as (client, send):
            await client.send_message_batch(QueueUrl="http://q/1/plant", Entries=[])
            before = server.connections
            for _ in range(3):
                assert await send(server.requests[0][1]) == b'{"Successful":[]}'
    of_sdk, *ours = [fields_of(head) for head, _ in server.requests]
    assert ours == [of_sdk] * 3
    assert of_sdk[0] == "POST http://sqs.internal.example:81/ HTTP/1.1"
    assert of_sdk[1]["Proxy-Authorization"] == "Basic " + base64.b64encode(b"user:hush").decode()
    assert server.connections <= before + 1


@asynccontextmanager
async def serving_tls(folder: Path) -> AsyncIterator[tuple[str, list[dict[str, str]], Path]]:
    """Yield the address of a service, the headers that it gets, and the certificate of its authority."""
    authority = Authority(folder / "ca")
    issued = authority.issue("localhost")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(issued.certificate, issued.key)
    got: list[dict[str, str]] = []

    async def answer(request: web.BaseRequest) -> web.Response:
        got.append(dict(request.headers))
        return web.Response(text="{}")

    runner = web.ServerRunner(web.Server(answer), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"https://localhost:{runner.addresses[0][1]}", got, authority.certificate
    finally:
        await runner.cleanup()


async def test_a_request_over_tls_goes_through_a_tunnel_that_only_the_proxy_gets_the_password_of(
    keys: dict[str, Any], tmp_path: Path
) -> None:
    async with serving_tls(tmp_path) as (url, got, certificate), Proxy().running() as proxy:
        async with opened(keys, endpoint_url=url, ca_bundle=certificate, proxy=proxy.url()) as (_, send):
            for _ in range(3):
                assert await send(BODY) == b"{}"
        assert proxy.tunnels == [int(url.rsplit(":", 1)[1])]
        assert len(got) == 3
        assert not any("Proxy-Authorization" in headers for headers in got)
        wrong = proxy.url("wrong-password")
        async with opened(keys, endpoint_url=url, ca_bundle=certificate, proxy=wrong) as (client, send):
            assert "wrong-password" not in str(await failing_alike(client, send))


async def test_a_certificate_of_another_authority_is_refused_before_anything_is_sent(keys: dict[str, Any], tmp_path: Path) -> None:
    async with serving_tls(tmp_path) as (url, got, _), opened(keys, endpoint_url=url) as (client, send):
        error = await failing_alike(client, send)
    assert isinstance(error, Unauthorized)
    assert "certificate verify failed" in str(error)
    assert not got
