"""The HTTP sink against a real server: the promises of the conformance suite, the meaning of each answer, and its requests.

Covers also: edgerouter.sinks.http.config.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any, ClassVar
from urllib.parse import unquote

import pytest
from aiohttp import web
from pydantic import ValidationError

from edgerouter import Message, Properties, Rejected, SinkContext, Throttled, Unauthorized, Unavailable
from edgerouter.sinks.http.config import HttpConfig
from edgerouter.sinks.http.sink import HttpSink
from edgerouter.testing import HttpSinkServer, Received, SinkConformance, make_message, make_messages
from support.json_lines import received


class Service(HttpSinkServer):
    """Accepts lines, arrays or payloads, whole or not at all, and keeps them."""

    decompresses = False

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[web.BaseRequest, bytes]] = []
        self.reply: web.Response | None = None

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.StreamResponse:
        if request.headers.get("Content-Encoding") == "gzip":
            body = gzip.decompress(body)
        self.seen.append((request, body))
        if self.reply is not None:
            return self.reply
        messages = self.read(request, body)
        if any(self.rejected(message.payload) for message in messages):
            return web.Response(status=422, text="one of these is bad")
        self.taken += messages
        return web.Response(status=202)

    def read(self, request: web.BaseRequest, body: bytes) -> list[Received]:
        if "Edgerouter-Topic" in request.headers:
            return [Received(body, unquote(request.headers["Edgerouter-Topic"]), request.headers["Edgerouter-Id"])]
        return [received(line) for line in body.split(b"\n")[:-1]]


class HttpConformance(SinkConformance):
    sink_class = HttpSink
    unsupported: ClassVar[Mapping[str, str]] = {"fail_once": "a request is taken whole or not at all"}

    @pytest.fixture
    async def server(self) -> AsyncIterator[Service]:
        async with Service().running() as service:
            yield service


class TestJsonLines(HttpConformance):
    @pytest.fixture
    def config(self, server: Service) -> Mapping[str, Any]:
        return {
            "url": server.url + "/ingest",
            "secret_headers": {"Authorization": "Bearer a-secret-of-the-test"},
            "max_request_bytes": "20KB",
            "max_request_messages": 50,
            "compression": "gzip",
        }


class TestPayloads(HttpConformance):
    unsupported: ClassVar[Mapping[str, str]] = {
        **HttpConformance.unsupported,
        **dict.fromkeys(("max_bytes", "max_message_bytes"), "the sink knows no limit of another's service"),
    }

    def messages(self, count: int, *, start: int = 1, label: str = "m") -> list[Message]:
        """Return one message for the suite's small batches: this form accepts no more per request."""
        return super().messages(1 if count <= 3 else count, start=start, label=label)

    @pytest.fixture
    def config(self, server: Service) -> Mapping[str, Any]:
        return {"url": server.url, "framing": "payload", "username": "edge", "password": "a-secret-of-the-test"}


@asynccontextmanager
async def opened(**config: Any) -> AsyncIterator[tuple[Service, HttpSink]]:
    async with Service().running() as service:
        model = HttpConfig.model_validate({"url": service.url + "/in?token=in-the-query", **config})
        async with HttpSink.open(model, SinkContext("web", "edge-1", "5p00l")) as sink:
            yield service, sink


@pytest.mark.parametrize(
    ("headers", "receipt"), [({}, None), ({"ETag": '"abc"'}, '"abc"'), ({"ETag": '"abc"', "Location": "/items/7"}, "/items/7")]
)
async def test_the_receipt_is_what_the_answer_calls_the_new_resource(headers: dict[str, str], receipt: str | None) -> None:
    async with opened() as (service, sink):
        service.reply = web.Response(status=201, headers=headers)
        assert (await sink.write([make_message()])).receipts == receipt


async def error_for(reply: web.Response, *batch: Message, **config: Any) -> BaseException:
    async with opened(**config) as (service, sink):
        service.reply = reply
        with pytest.raises((Unavailable, Rejected)) as caught:
            await sink.write(batch or [make_message()])
        return caught.value


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (300, Unauthorized),
        (301, Unauthorized),
        (304, Unavailable),
        (308, Unauthorized),
        (399, Unavailable),
        (400, Rejected),
        (401, Unauthorized),
        (403, Unauthorized),
        (404, Unauthorized),
        (405, Unauthorized),
        (408, Unavailable),
        (409, Rejected),
        (410, Unauthorized),
        (411, Unauthorized),
        (413, Rejected),
        (418, Unavailable),
        (422, Rejected),
        (423, Unavailable),
        (428, Unauthorized),
        (429, Throttled),
        (500, Unavailable),
        (502, Unavailable),
        (503, Unavailable),
        (504, Unavailable),
        (599, Unavailable),
        (600, Unavailable),
        (999, Unavailable),
    ],
)
async def test_each_answer_has_its_meaning(status: int, kind: type[BaseException]) -> None:
    assert type(await error_for(web.Response(status=status))) is kind


@pytest.mark.parametrize("status", [429, 503])
async def test_the_wait_that_the_service_asks_for_is_passed_on(status: int) -> None:
    error = await error_for(web.Response(status=status, headers={"Retry-After": "17"}))
    assert isinstance(error, Throttled)
    assert error.retry_after == 17

    date = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    error = await error_for(web.Response(status=status, headers={"Retry-After": date}))
    assert isinstance(error, Throttled)
    assert error.retry_after is not None
    assert 3000 < error.retry_after <= 3600


async def test_an_unreadable_wait_is_ignored() -> None:
    error = await error_for(web.Response(status=429, headers={"Retry-After": "soon"}))
    assert isinstance(error, Throttled)
    assert error.retry_after is None


async def test_an_error_quotes_the_service_but_no_secret() -> None:
    text = "bad token s3cr3t\n in request " + "x" * 1000
    error = await error_for(web.Response(status=403, text=text), secret_headers={"X-Key": "s3cr3t"})

    assert "bad token *** in request xxx" in str(error)
    assert "in-the-query" not in str(error)
    assert len(str(error)) < 400


async def test_an_array_is_one_json_document() -> None:
    async with opened(framing="json-array", compression="gzip", headers={"X-Plant": "north"}, method="PUT") as (service, sink):
        service.reply = web.Response(status=200)
        await sink.write(make_messages([b'{"a":1}', b"text\nof two lines", b"2"]))
        request, body = service.seen[0]

    assert [each["payload"] for each in json.loads(body)] == [{"a": 1}, "text\nof two lines", 2]
    assert request.method == "PUT"
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Content-Encoding"] == "gzip"
    assert request.headers["X-Plant"] == "north"
    assert request.headers["Edgerouter-Id"] == "5p00l-1-3"


async def test_the_body_is_compressed_on_the_wire() -> None:
    async with opened(framing="raw-lines", compression="gzip") as (service, sink):
        service.reply = web.Response(status=200)
        await sink.write(make_messages([b"x" * 10_000]))
        request, _ = service.seen[0]

    assert int(request.headers["Content-Length"]) == len(gzip.compress(b"x" * 10_000 + b"\n"))


async def test_a_payload_keeps_its_content_type_and_its_topic_travels_in_a_header() -> None:
    message = make_message(b"a;b", topic="größe/\n", retained=True, properties=Properties(content_type="text/csv"))
    async with opened(framing="payload") as (service, sink):
        assert sink.limits.max_messages == 1
        await sink.write([message])
        request, body = service.seen[0]

    assert body == b"a;b"
    assert request.headers["Content-Type"] == "text/csv"
    assert unquote(request.headers["Edgerouter-Topic"]) == "größe/\n"
    assert request.headers["Edgerouter-Retained"] == "true"
    assert datetime.fromisoformat(request.headers["Edgerouter-Time"]) == message.time


@pytest.mark.parametrize(
    ("parent", "sent"), [(f"00-{'a' * 32}-{'b' * 16}-01", True), ("00-forged\r\nX-Admin: 1", False)], ids=["valid", "forged"]
)
async def test_the_trace_that_a_message_belongs_to_travels_in_the_headers(parent: str, sent: bool) -> None:
    properties = Properties(user=(("traceparent", parent), ("tracestate", "vendor=1")))
    async with opened(framing="payload") as (service, sink):
        await sink.write([make_message(b"1", properties=properties)])
        request, _ = service.seen[0]

    assert request.headers.get("traceparent") == (parent if sent else None)
    assert request.headers.get("tracestate") == ("vendor=1" if sent else None)


async def test_one_connection_serves_many_requests() -> None:
    async with opened() as (service, sink):
        service.reply = None
        for sequence in range(5):
            await sink.write([make_message(sequence=sequence)])
            assert await service.connections() == 1


async def test_an_unreachable_service_is_reported_with_its_address() -> None:
    async with opened() as (service, sink):
        url = service.url
        await service.stop()
        with pytest.raises(Unavailable, match=f"{url}/in cannot be reached: Connection refused|{url}/in cannot be reached"):
            await sink.write([make_message()])


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"url": "ftp://x"}, "not the URL of a web service"),
        ({"url": "https://"}, "not the URL of a web service"),
        ({"url": "https://me:pw@x/"}, "holds credentials"),
        ({"url": "https://x:99999/"}, "a port is a number from 1 to 65535"),
        ({"url": "https://x:abc/"}, "a port is a number from 1 to 65535"),
        ({"url": "http://[::1"}, "not the URL of a web service"),
        ({"url": "http://x y/"}, "not the URL of a web service"),
        ({"proxy": "proxy:3128"}, "not the URL of a proxy"),
        ({"url": "https://x/#y"}, "fragment"),
        ({"headers": {"a b": "c"}}, "not a header name"),
        ({"headers": {"X": "a\r\nEvil: 1"}}, "line break"),
        ({"secret_headers": {"X": "a\n"}}, "line break"),
        ({"headers": {"Content-Type": "a"}}, "content_type"),
        ({"headers": {"Host": "a"}}, "set by the sink itself"),
        ({"headers": {"X": "a"}, "secret_headers": {"x": "b"}}, "given twice"),
        ({"username": "a"}, "must be set together"),
        ({"username": "a", "password": "b", "secret_headers": {"Authorization": "c"}}, "exclude each other"),
        ({"headers": {"Authorization": "Bearer c"}}, "holds a secret: write it under `secret_headers`"),
        ({"url": "http://x/", "tls": {}}, "says no TLS"),
        ({"tls": {"ca": "/nowhere.pem"}}, "no such file"),
        ({"framing": "payload", "max_request_messages": 2}, "one message per request"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_with_the_reason(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint) as caught:
        HttpConfig.model_validate({"url": "https://example.com/in", **config})
    assert "Evil" not in str(caught.value)
