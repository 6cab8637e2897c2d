"""Identity towards AWS: keys, chain, profile, roles that are renewed, proxy, certificates; and no retries by the SDK.

Covers also: edgerouter_aws.sqs.address.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from aiohttp import web

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_context, make_messages
from edgerouter_aws import connections
from edgerouter_aws.sqs.address import Address
from edgerouter_aws.sqs.config import SqsConfig
from edgerouter_aws.sqs.sink import SqsSink
from support.aws.sqs import SqsServer
from support.certificates import Authority
from support.raw_http import for_ever, raw_http

BATCH = make_messages([b"x"])


@asynccontextmanager
async def opened(**fields: Any) -> AsyncIterator[SqsSink]:
    async with SqsSink.open(SqsConfig(**{"queue": "plant", "region": "eu-west-1", **fields}), make_context()) as sink:
        yield sink


class Sts:
    """STS: gives keys AKIAROLE1, AKIAROLE2 ..., each for `lifetime`."""

    def __init__(self) -> None:
        self.asked: list[dict[str, str]] = []
        self.signed_by: list[str] = []
        self.lifetime = timedelta(minutes=5)
        """Less than the time before the end at which the SDK wants new ones, so each request renews."""
        self.url = ""

    async def answer(self, request: web.BaseRequest) -> web.Response:
        said = {name: values[0] for name, values in parse_qs(await request.text()).items()}
        self.asked.append(said)
        self.signed_by.append(request.headers.get("Authorization", ""))
        expires = (datetime.now(UTC) + self.lifetime).isoformat()
        action = said["Action"]
        return web.Response(
            text=f"<{action}Response><{action}Result><Credentials><AccessKeyId>AKIAROLE{len(self.asked)}</AccessKeyId>"
            f"<SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>{expires}</Expiration></Credentials>"
            f"<AssumedRoleUser><Arn>arn:aws:sts::123456789012:assumed-role/r/s</Arn></AssumedRoleUser></{action}Result></{action}Response>",
            content_type="text/xml",
        )


@asynccontextmanager
async def serving(handler: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    runner = web.ServerRunner(web.Server(handler), shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@pytest.fixture
async def sts() -> AsyncIterator[Sts]:
    sts = Sts()
    async with serving(sts.answer) as sts.url:
        yield sts


async def test_credentials_come_from_the_environment_when_none_are_given(sqs: SqsServer, monkeypatch: pytest.MonkeyPatch) -> None:
    sqs.create("plant")
    sqs.known_key = "AKIAENV"
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAENV")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    async with opened(endpoint_url=sqs.url) as sink:
        assert not (await sink.write(BATCH)).failed


async def test_a_profile_names_credentials_and_region(sqs: SqsServer, tmp_path: Path) -> None:
    sqs.create("plant")
    sqs.known_key = "AKIAPROFILE"
    (tmp_path / "credentials").write_text("[plant]\naws_access_key_id=AKIAPROFILE\naws_secret_access_key=s\n")
    (tmp_path / "config").write_text("[profile plant]\nregion=eu-central-1\n")
    async with opened(endpoint_url=sqs.url, profile="plant", region=None) as sink:
        assert not (await sink.write(BATCH)).failed


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({}, "no usable credentials: Unable to locate credentials"),
        ({"profile": "missing"}, r"The config profile \(missing\) could not be found"),
        ({"region": None, "access_key_id": "A", "secret_access_key": "s"}, "You must specify a region"),
        ({"role_arn": "arn:aws:iam::1:role/r"}, "no usable credentials: Unable to locate credentials"),
    ],
)
async def test_missing_credentials_are_reported(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(Unauthorized, match=said):
        async with opened(**fields):
            pass


async def test_the_region_is_that_of_the_queue_where_it_says_one(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    del keys["region"]
    config = SqsConfig(queue="arn:aws:sqs:ap-south-1:123456789012:plant", endpoint_url=sqs.url, **keys)
    async with SqsSink.open(config, make_context()) as sink:
        assert not (await sink.write(BATCH)).failed


async def test_the_region_may_be_that_of_the_other_sdks_variable(
    sqs: SqsServer, keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sqs.create("plant")
    monkeypatch.setenv("AWS_REGION", "eu-north-1")
    async with opened(endpoint_url=sqs.url, **{**keys, "region": None}) as sink:
        assert not (await sink.write(BATCH)).failed


async def test_a_queue_by_its_url_is_asked_for_there(sqs: SqsServer, keys: dict[str, Any]) -> None:
    """A VPC endpoint, or a compatible service; no `endpoint_url` has to repeat it."""
    url = sqs.create("plant")
    async with opened(queue=url, **keys) as sink:
        assert not (await sink.write(BATCH)).failed
    assert len(sqs.queues["plant"].entries) == 1


@pytest.mark.parametrize(
    ("url", "region", "endpoint"),
    [
        ("https://sqs.eu-west-1.amazonaws.com/123456789012/q", "eu-west-1", None),
        ("https://sqs-fips.us-east-1.amazonaws.com/123456789012/q", "us-east-1", None),
        ("https://sqs.cn-north-1.amazonaws.com.cn/123456789012/q", "cn-north-1", None),
        ("https://eu-west-1.queue.amazonaws.com/123456789012/q", "eu-west-1", None),
        ("https://queue.amazonaws.com/123456789012/q", None, None),
        ("https://vpce-0a-b1.sqs.eu-west-1.vpce.amazonaws.com/123456789012/q", "eu-west-1", "https://vpce-0a-b1.sqs.eu-west-1.vpce.amazonaws.com"),
        ("http://elasticmq:9324/000000000000/q", None, "http://elasticmq:9324"),
    ],
)  # fmt: skip
def test_a_queues_url_says_region_and_endpoint(url: str, region: str | None, endpoint: str | None) -> None:
    address = Address.parse(url, None)
    assert (address.name, address.region, address.endpoint) == ("q", region, endpoint)


async def test_the_error_of_a_missing_token_file_names_the_file(sqs: SqsServer, sts: Sts, tmp_path: Path) -> None:
    role = {"role_arn": "arn:aws:iam::123456789012:role/router", "sts_endpoint_url": sts.url}
    with pytest.raises(Unauthorized, match=r"No such file or directory: .*/nowhere"):
        async with opened(endpoint_url=sqs.url, web_identity_token_file=tmp_path / "nowhere", **role):
            pass


async def test_a_role_is_assumed_and_renewed_while_the_sink_stays_open(sqs: SqsServer, sts: Sts, keys: dict[str, Any]) -> None:
    """A session that ends while messages flow costs nothing but one request to STS."""
    sqs.create("plant")
    role = {"role_arn": "arn:aws:iam::123456789012:role/router", "role_external_id": "x1", "sts_endpoint_url": sts.url}
    async with opened(endpoint_url=sqs.url, **keys, **role) as sink:
        for _ in range(3):
            sqs.known_key = f"AKIAROLE{len(sts.asked) + 1}"
            assert not (await sink.write(BATCH)).failed
    assert all(keys["access_key_id"] in signed for signed in sts.signed_by)
    assert (
        sts.asked[0].items()
        >= {"Action": "AssumeRole", "RoleArn": role["role_arn"], "ExternalId": "x1", "DurationSeconds": "3600"}.items()
    )


async def test_a_role_that_is_valid_for_long_is_assumed_once(sqs: SqsServer, sts: Sts, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    sts.lifetime = timedelta(hours=1)
    async with opened(endpoint_url=sqs.url, **keys, role_arn="arn:aws:iam::1:role/r", sts_endpoint_url=sts.url) as sink:
        for _ in range(3):
            assert not (await sink.write(BATCH)).failed
    assert len(sts.asked) == 1


async def test_a_web_identity_token_is_read_anew_at_each_renewal(sqs: SqsServer, sts: Sts, tmp_path: Path) -> None:
    sqs.create("plant")
    token = tmp_path / "token"
    token.write_text("first")
    fields = {"web_identity_token_file": token, "role_arn": "arn:aws:iam::1:role/r", "sts_endpoint_url": sts.url}
    async with opened(endpoint_url=sqs.url, **fields) as sink:
        token.write_text("second")
        assert not (await sink.write(BATCH)).failed
    assert sts.asked[0]["WebIdentityToken"] == "first"
    assert sts.asked[-1]["WebIdentityToken"] == "second"


async def test_requests_go_through_the_proxy(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    seen = []

    async def proxy(request: web.BaseRequest) -> web.StreamResponse:
        seen.append((str(request.raw_path), request.headers.get("Proxy-Authorization")))
        return await sqs.answer(request, await request.read())

    async with serving(proxy) as url:
        address = url.replace("//", "//user:hush@")
        async with opened(endpoint_url="http://sqs.internal.example", proxy=address, **keys) as sink:
            assert not (await sink.write(BATCH)).failed
            assert "hush" not in repr(sink)
    assert all(path.startswith("http://sqs.internal.example/") and sent for path, sent in seen)
    assert len(await sqs.received()) == 1


async def test_a_proxy_that_is_away_is_unavailable_and_its_password_is_not_shown(keys: dict[str, Any]) -> None:
    with pytest.raises(Unavailable) as caught:
        async with opened(endpoint_url="http://sqs.internal.example", proxy="http://user:hush@127.0.0.1:9", **keys):
            pass
    assert "hush" not in f"{caught.value!r} {caught.value.__cause__!r}"


async def test_only_the_authorities_of_the_user_are_trusted(sqs: SqsServer, keys: dict[str, Any], tmp_path: Path) -> None:
    sqs.create("plant")
    authority = Authority(tmp_path / "ca")
    ours = authority.issue("localhost")
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(ours.certificate, ours.key)

    async def service(request: web.BaseRequest) -> web.StreamResponse:
        return await sqs.answer(request, await request.read())

    async with serving(service, tls) as url:
        endpoint = url.replace("127.0.0.1", "localhost")
        async with opened(endpoint_url=endpoint, ca_bundle=authority.certificate, **keys) as sink:
            assert not (await sink.write(BATCH)).failed
        with pytest.raises(Unauthorized, match="certificate verify failed"):
            async with opened(endpoint_url=endpoint, **keys):
                pass
        nothing = tmp_path / "nothing.pem"
        with pytest.raises(Unauthorized, match=r"ca_bundle .*nothing\.pem cannot be used: No such file"):
            async with opened(endpoint_url=endpoint, ca_bundle=nothing, **keys):
                pass


async def test_a_service_that_hangs_in_connecting_is_given_up(keys: dict[str, Any]) -> None:
    """A black hole: packets go out and nothing comes back."""
    import socket

    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        clients = []
        for _ in range(4):
            client = socket.socket()
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            clients.append(client)
        try:
            async with asyncio.timeout(10):
                with pytest.raises(Unavailable):
                    async with opened(endpoint_url=f"http://127.0.0.1:{port}", connect_timeout="200ms", **keys):
                        pass
        finally:
            for client in clients:
                client.close()


async def test_interim_answers_without_end_end_the_request(keys: dict[str, Any]) -> None:
    async with asyncio.timeout(60), raw_http(partial(for_ever, unit=b"HTTP/1.1 100 Continue\r\n\r\n")) as server:
        with pytest.raises(Unavailable, match=r"plant in eu-west-1: more than \d+ interim answers"):
            async with opened(endpoint_url=server.url, **keys):
                pass


async def test_an_answer_without_end_ends_the_request(keys: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "_MOST_ANSWER_BYTES", 1024**2)

    async def answer(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n")
        await for_ever(writer, b"10000\r\n" + b"x" * 0x10000 + b"\r\n")

    async with asyncio.timeout(60), raw_http(answer) as server:
        with pytest.raises(Unavailable):
            async with opened(endpoint_url=server.url, **keys):
                pass
