"""A queue is found and checked at the start; answers that are not of SQS are recognised."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest
from aiohttp import web

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_messages
from edgerouter_aws.sqs.sink import SqsSink
from support.aws.sqs import SqsServer
from support.sinks import opened as open_sink


def opened(
    sqs: SqsServer, keys: dict[str, Any], queue: str = "plant", *, seconds: float = 30.0, **more: Any
) -> AbstractAsyncContextManager[SqsSink]:
    return open_sink(SqsSink, {"queue": queue, "endpoint_url": sqs.url, **keys, **more}, seconds=seconds)


async def test_the_limit_is_that_of_the_queue(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant", max_message_bytes=262_144)
    async with opened(sqs, keys) as sink:
        assert sink.limits.max_message_bytes == 262_144
        assert sink.limits.max_bytes == 1_048_576


async def test_where_the_limit_may_not_be_read_the_oldest_one_counts(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    sqs.denied = {"GetQueueAttributes"}
    async with opened(sqs, keys) as sink:
        assert sink.limits.max_message_bytes == 262_144
    async with opened(sqs, keys, max_message_bytes="1MiB") as sink:
        assert sink.limits.max_message_bytes == 1_048_576


@pytest.mark.parametrize("queue", ["plant", "{url}", "arn:aws:sqs:eu-west-1:123456789012:plant"])
async def test_a_queue_is_found_by_name_url_and_arn(sqs: SqsServer, keys: dict[str, Any], queue: str) -> None:
    url = sqs.create("plant")
    async with opened(sqs, keys, queue.replace("{url}", url)) as sink:
        assert not (await sink.write(make_messages([b"x"]))).failed
    assert sqs.bodies("plant") == ["x"]


async def test_a_queue_of_another_account_is_found_without_asking_for_its_url(sqs: SqsServer, keys: dict[str, Any]) -> None:
    sqs.create("plant")
    sqs.denied = {"GetQueueUrl"}
    async with opened(sqs, keys, account_id="123456789012") as sink:
        assert not (await sink.write(make_messages([b"x"]))).failed


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"queue": "plamt"}, "queue plamt in eu-west-1: the queue does not exist"),
        ({"access_key_id": "AKIAWRONG"}, "the access key id or the session token is not known to AWS"),
        ({"denied": {"SendMessageBatch"}}, "grant sqs:SendMessage on arn:aws:sqs:eu-west-1:123456789012:plant"),
        ({"denied": {"GetQueueUrl"}}, "grant sqs:GetQueueUrl on arn:aws:sqs:eu-west-1:*:plant (or give the queue as URL or ARN)"),
    ],
)
async def test_opening_says_what_is_wrong_and_what_to_grant(
    sqs: SqsServer, keys: dict[str, Any], change: dict[str, Any], said: str
) -> None:
    sqs.create("plant")
    sqs.known_key = keys["access_key_id"]
    sqs.denied = change.pop("denied", set())
    with pytest.raises(Unauthorized) as caught:
        async with opened(sqs, keys, **change):
            pass
    assert said in str(caught.value)
    assert await sqs.received() == []


class Portal(SqsServer):
    """A captive portal: 200 and a page, whatever is asked."""

    on = False
    page = b"<html>Please log in</html>"

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if self.on:
            return web.Response(body=self.page, content_type="text/html")
        return await super().answer(request, body)


@pytest.mark.parametrize(
    "page", [b"<html>Please log in</html>", b"\x1f\x8b\xff", b"[]", b'{"Successful": [{"Id": "x"}, {}], "Failed": [{}]}']
)
async def test_an_answer_of_a_captive_portal_is_not_taken_for_success(keys: dict[str, Any], page: bytes) -> None:
    async with Portal().running() as portal:
        portal.page = page
        portal.create("plant")
        async with opened(portal, keys) as sink:
            portal.on = True
            failures = (await sink.write(make_messages([b"x", b"y"]))).failed
            assert [failure.index for failure in failures] == [0, 1]
            assert all(isinstance(failure.error, Unavailable) for failure in failures)
        with pytest.raises(Unavailable):
            async with opened(portal, keys):
                pass
