"""A request is answered with 202 once its messages are stored, and with the reason and the cure otherwise.

Covers also: edgerouter.sources.http.requests, edgerouter.sources.http.waiting, edgerouter.sources.http.messages,
edgerouter.sources.http.accepted, edgerouter.http_server.problems.
"""

import asyncio
import select
import socket
import time
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from typing import Any, ClassVar

import aiohttp
import pytest

from edgerouter import Properties, SourceContext, Unavailable
from edgerouter.sources.http.config import HttpSourceConfig
from edgerouter.sources.http.source import HttpSource
from edgerouter.testing import SourceConformance
from support.http_source import serving
from support.mosquitto import free_port
from support.pipeline import until

TOKEN = "0123456789abcdef"


class TestHttpSource(SourceConformance):
    source_class: ClassVar = HttpSource
    tight: ClassVar[Mapping[str, Any]] = {"max_body_bytes": "64KiB", "max_unacknowledged_bytes": "64KiB"}
    answered: int

    @pytest.fixture(autouse=True)
    def _none_answered(self) -> None:
        self.answered = 0

    @pytest.fixture
    def acknowledged(self) -> Any:
        return lambda: self.answered

    @pytest.fixture
    def config(self) -> Mapping[str, Any]:
        return {"listen": f"127.0.0.1:{free_port()}", "tokens": {"device": {"token": TOKEN}}}

    @pytest.fixture
    def send(self, config: Mapping[str, Any]) -> Any:
        async def send(payloads: Sequence[bytes]) -> None:
            url = f"http://{config['listen']}/topics/a"
            async with aiohttp.ClientSession(headers={"Authorization": f"Bearer {TOKEN}"}) as http:
                for payload in payloads:
                    async with http.post(url, data=payload) as answer:
                        assert answer.status == 202
                        self.answered += 1

        return send


async def test_the_answer_comes_after_the_commit_and_not_before() -> None:
    async with serving() as web, web.client() as client:
        web.stores.clear()
        client.send("/topics/plant/a", b"1")
        waiting = asyncio.create_task(client.answer(), name="answer")
        await asyncio.wait((waiting,), timeout=0.2)
        assert not waiting.done()
        web.stores.set()
        answer = await waiting
    assert (answer.status, answer.body) == (202, b"")
    assert "GMT" in answer.headers["date"]
    assert web.stored == [("plant/a", b"1")]


async def test_requests_that_wait_share_a_commit_and_ask_for_it_once_every_client_waits() -> None:
    async with serving() as web, web.client() as first, web.client() as second, web.client() as third:
        web.stores.clear()
        first.send("/topics/a", b"1")
        await until(lambda: web.source.waiting.inbox.messages == 1)
        second.send("/topics/a", b"2")
        third.send("/topics/a", b"3")
        await until(lambda: web.source.waiting.inbox.messages == 3)
        web.stores.set()
        assert [(await client.answer()).status for client in (first, second, third)] == [202] * 3
    assert len(web.deliveries) == 2
    assert web.flushes == 1


def connected_at_once(port: int, clients: int) -> int:
    """Connect, and return how many connections the system takes while the event loop does not turn, so that none is accepted."""
    connected = 0
    with ExitStack() as stack:
        poll = select.poll()
        for _ in range(clients):
            client = stack.enter_context(socket.socket())
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
            poll.register(client, select.POLLOUT)
        while connected < clients and (ready := poll.poll(5000)):
            for number, _ in ready:
                poll.unregister(number)
                connected += 1
    return connected


async def test_all_clients_that_are_allowed_may_connect_at_once() -> None:
    """After an outage a whole plant returns. A connection that the system has no room for is tried again after a second or more."""
    clients = 600
    if int(Path("/proc/sys/net/core/somaxconn").read_text()) < clients:
        pytest.skip("this system lets fewer connections wait")
    async with serving(max_connections=clients) as web:
        assert connected_at_once(web.port, clients) == clients


async def test_a_batch_is_stored_in_one_delivery_or_not_at_all() -> None:
    async with serving() as web:
        assert (await web.ask("/topics/a?batch=array", b'[{"a": 1}, "x"]')).status == 202
        assert (await web.ask("/topics/a", b'{"b":1}\n{"b":2}\n', Content_Type="application/x-ndjson")).status == 202
        refused = await web.ask("/topics/a?batch=lines", b"1\n2\nthree")
    assert refused.status == 400
    assert "line 3" in refused.detail
    assert [len(delivery.messages) for delivery in web.deliveries] == [2, 2]
    assert [payload for _, payload in web.stored] == [b'{"a": 1}', b'"x"', b'{"b":1}', b'{"b":2}']


async def test_content_type_and_chosen_headers_become_properties_of_the_message() -> None:
    async with serving(user_properties=["X-Device", "X-Missing"]) as web:
        await web.ask("/topics/a", Content_Type="text/csv", x_device="7")
        await web.ask("/topics/a", Content_Type="text/plain")
        await web.ask("/topics/a", Content_Type="application/x-www-form-urlencoded")
    assert [message.properties for message in web.messages] == [
        Properties(user=(("X-Device", "7"),), content_type="text/csv"),
        Properties(content_type="text/plain"),
        None,
    ]
    assert {message.qos for message in web.messages} == {1}


@pytest.mark.parametrize("kind", ["application/x-ndjson", "Application/JSONL; charset=utf-8"])
async def test_a_line_of_json_lines_is_of_the_content_type_json(kind: str) -> None:
    """The type of the body says nothing true about a message of it, and a subscriber would split it again."""
    async with serving(user_properties=["X-Device"]) as web:
        await web.ask("/topics/a", b"1\n2\n", Content_Type=kind)
        await web.ask("/topics/a", b"3\n", Content_Type=kind, x_device="7")
    assert [message.properties for message in web.messages] == [
        Properties(content_type="application/json"),
        Properties(content_type="application/json"),
        Properties(user=(("X-Device", "7"),), content_type="application/json"),
    ]


async def test_other_methods_and_paths_say_what_to_send() -> None:
    async with serving() as web:
        got = await web.ask("/topics/a", b"", method="GET")
        elsewhere = await web.ask("/")
    assert (got.status, got.headers["allow"]) == (405, "POST, PUT")
    assert elsewhere.status == 404
    assert "POST /topics/TOPIC" in elsewhere.detail


async def test_a_spool_that_takes_nothing_is_answered_with_503_and_so_is_the_next_request_at_once() -> None:
    async with serving(answer_timeout="200ms") as web, web.client() as client:
        web.stores.clear()
        waited = await client.ask("/topics/a", b"1")
        refused = await client.ask("/topics/a", b"2")
        assert waited.status == refused.status == 503
        assert waited.headers["retry-after"] == refused.headers["retry-after"] == "1"
        assert "may be" in waited.detail
        assert "nothing is stored" in refused.detail
        web.stores.set()
        await until(lambda: len(web.stored) == 1)
        assert (await client.ask("/topics/a", b"3")).status == 202
    assert [payload for _, payload in web.stored] == [b"1", b"3"]


async def test_beyond_the_bound_of_what_waits_the_answer_is_503_at_once() -> None:
    async with serving(max_unacknowledged=2, max_unacknowledged_bytes="4KiB", max_body_bytes="4KiB") as web:
        web.stores.clear()
        async with web.client() as first, web.client() as second:
            first.send("/topics/a?batch=array", b"[1,2]")
            await until(lambda: web.source.waiting.inbox.messages == 2)
            assert (await second.ask("/topics/a")).status == 503
            web.stores.set()
            assert (await first.answer()).status == 202
            web.stores.clear()
            first.send("/topics/a", b"x" * 4000)
            await until(lambda: web.source.waiting.inbox.messages == 1)
            assert (await second.ask("/topics/a")).headers["retry-after"] == "1"
            web.stores.set()
            assert (await first.answer()).status == 202


async def test_a_source_that_stops_stores_what_has_arrived_and_refuses_the_rest() -> None:
    async with serving() as web, web.client() as waiting, web.client() as late:
        web.stores.clear()
        waiting.send("/topics/a", b"1")
        await until(lambda: web.source.waiting.inbox.messages == 1)
        web.source.stop()
        refused = await late.ask("/topics/a", b"2")
        web.stores.set()
        assert (await waiting.answer()).status == 202
    assert (refused.status, refused.headers["connection"]) == (503, "close")
    assert [payload for _, payload in web.stored] == [b"1"]


async def test_a_source_that_closes_answers_requests_that_still_wait() -> None:
    async with serving() as web:
        web.stores.clear()
        client = web.client()
        connection = await client.__aenter__()
        connection.send("/topics/a", b"1")
        await until(lambda: web.source.waiting.inbox.messages == 1)
    assert (await connection.answer()).status == 503
    await client.__aexit__(None, None, None)


async def test_idle_connections_do_not_delay_the_end() -> None:
    async with AsyncExitStack() as stack:
        async with serving() as web:
            client = await stack.enter_async_context(web.client())
            assert (await client.ask("/topics/a")).status == 202
            silent = await stack.enter_async_context(web.client())
            began = time.monotonic()
        assert time.monotonic() - began < 1.5
        assert await client.closed()
        assert await silent.closed()


async def test_http_1_0_and_a_connection_that_shall_close_are_answered_too() -> None:
    async with serving() as web:
        async with web.client() as client:
            client.writer.write(b"POST /topics/a HTTP/1.0\r\nContent-Length: 1\r\n\r\nx")
            assert (await client.answer()).status == 202
            assert await client.closed()
        async with web.client() as client:
            assert (await client.ask("/topics/a", Connection="close")).status == 202
            assert await client.closed()


async def test_an_address_in_use_is_reported_and_tried_again_by_the_router() -> None:
    async with serving() as web:
        context = SourceContext("other", "h", "s", lambda: None, lambda *_: None, lambda *_: None)
        config = HttpSourceConfig.model_validate({"listen": f"127.0.0.1:{web.port}"})
        with pytest.raises(Unavailable, match=f"cannot listen on 127.0.0.1:{web.port}: Address already in use"):
            async with HttpSource.open(config, context):
                pass
