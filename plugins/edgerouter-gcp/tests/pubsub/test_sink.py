"""Promises of `gcp-pubsub` beside the contract: the form of requests, and the meaning of each of Google's errors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from edgerouter import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.testing import deliver, make_context, make_message, make_messages
from edgerouter_gcp.pubsub.sink import PubsubConfig, PubsubSink
from support.google.pubsub import PubsubServer
from support.google.service import GoogleError

TOPIC = "projects/plant/topics/telemetry"


def configured(server: PubsubServer, account: Mapping[str, Any], **more: Any) -> PubsubConfig:
    return PubsubConfig.model_validate({"topic": "telemetry", "endpoint": server.url, **account, **more})


async def test_a_topic_may_be_given_by_its_full_name(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    config = configured(pubsub, {**account, "project": "another"}, topic=TOPIC)
    async with PubsubSink.open(config, make_context()) as sink:
        await sink.write([make_message()])
    assert len(pubsub.topics[TOPIC].messages) == 1


async def test_requests_are_gzipped_on_request(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    messages = make_messages([b"x" * 1000] * 200)  # small enough and too large for the event loop
    async with PubsubSink.open(configured(pubsub, account, compression=True), make_context()) as sink:
        await sink.write(messages[:1])
        await sink.write(messages)
    published = [request for request in pubsub.seen if request.path.endswith(":publish")]
    assert [request.headers["Content-Encoding"] for request in published] == ["gzip", "gzip"]
    assert int(published[1].headers["Content-Length"]) < 20_000
    assert len(pubsub.topics[TOPIC].messages) == 201


async def test_a_request_holds_one_ordering_key_and_each_key_keeps_its_order(
    pubsub: PubsubServer, account: Mapping[str, Any]
) -> None:
    messages = [make_message(b"%d" % n, topic=f"plant/{n % 3}/t", sequence=n) for n in range(1, 31)]
    async with PubsubSink.open(configured(pubsub, account, ordering_key="{topic[1]}"), make_context()) as sink:
        assert await deliver(sink, messages) == []
    stored = pubsub.topics[TOPIC].messages
    assert len({item.request for item in stored}) == 3
    for key in "012":
        mine = [int(item.data) for item in stored if item.ordering_key == key]
        assert mine == sorted(mine)
        assert len(mine) == 10


async def test_an_ordering_key_goes_on_after_an_error(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    pubsub.topics[TOPIC].ordered_fault["1"] = 1
    one, two = make_message(b"1", topic="plant/1/t"), make_message(b"2", topic="plant/2/t", sequence=2)
    async with PubsubSink.open(configured(pubsub, account, ordering_key="{topic[1]}"), make_context()) as sink:
        with pytest.raises(Unavailable):
            await sink.write([one])
        await sink.write([two])
        await sink.write([one])
    assert [item.ordering_key for item in pubsub.topics[TOPIC].messages] == ["2", "1"]


async def test_the_receipts_are_the_ids_that_pubsub_gave(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        outcome = await sink.write(make_messages([b"1", b"2"]))
    assert outcome.receipts == [stored.message_id for stored in pubsub.topics[TOPIC].messages]


def test_the_region_is_in_the_address() -> None:
    with pytest.raises(ValueError, match="exclude each other"):
        PubsubConfig(topic="t", region="europe-west1", endpoint="https://example.com")
    with pytest.raises(ValueError, match="region"):
        PubsubConfig(topic="t", region="Frankfurt")


async def test_an_emulator_is_found_by_its_variable_and_gets_no_credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    async with PubsubServer().running() as server:
        server.create(TOPIC)
        monkeypatch.setenv("PUBSUB_EMULATOR_HOST", server.url.removeprefix("http://"))
        async with PubsubSink.open(PubsubConfig(topic="telemetry", project="plant"), make_context()) as sink:
            await sink.write([make_message()])
        assert len(server.topics[TOPIC].messages) == 1
        assert not any("Authorization" in request.headers for request in server.seen)


async def test_messages_that_cannot_be_encoded_fail_alone(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    batch = [make_message(sequence=1), make_message(topic="x" * 2000, sequence=2), make_message(sequence=3)]
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        failures = (await sink.write(batch)).failed
        assert [failure.index for failure in failures] == [1]
        assert [failure.index for failure in (await sink.write(batch[1:2])).failed] == [0]
    assert len(pubsub.topics[TOPIC].messages) == 2


RETRY_INFO = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "3.5s"}


@pytest.mark.parametrize(
    ("answer", "expected", "retry_after"),
    [
        (GoogleError(429, "Quota exceeded", details=[RETRY_INFO]), Throttled, 3.5),
        (GoogleError(429, "Quota exceeded"), Throttled, None),
        (GoogleError(503, "try again"), Unavailable, None),
        (GoogleError(503, "try again", details=[RETRY_INFO]), Unavailable, 3.5),
        (GoogleError(500, "oops"), Unavailable, None),
        (GoogleError(502, "bad gateway"), Unavailable, None),
        (GoogleError(504, "slow", code="DEADLINE_EXCEEDED"), Unavailable, None),
        (GoogleError(409, "aborted", code="ABORTED"), Unavailable, None),
        (GoogleError(499, "cancelled", code="CANCELLED"), Unavailable, None),
        (GoogleError(408, "time-out"), Unavailable, None),
        (GoogleError(418, "who knows"), Unavailable, None),
        (GoogleError(403, "not authorized"), Unauthorized, None),
        (GoogleError(404, "no topic"), Unauthorized, None),
        (GoogleError(400, "the KMS key is disabled", code="FAILED_PRECONDITION"), Unauthorized, None),
        (GoogleError(400, "too long"), Rejected, None),
        (GoogleError(413, "too large", code="OUT_OF_RANGE"), Rejected, None),
    ],
    ids=lambda value: f"{value.status}-{value.code}" if isinstance(value, GoogleError) else str(value),
)
async def test_each_of_googles_errors_says_what_happens_next(
    pubsub: PubsubServer, account: Mapping[str, Any], answer: GoogleError, expected: type[Exception], retry_after: float | None
) -> None:
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        pubsub.script = [answer]
        with pytest.raises(expected) as caught:
            await sink.write([make_message()])
        assert type(caught.value) is expected
        assert getattr(caught.value, "retry_after", None) == retry_after
        assert answer.text in str(caught.value)
        assert await pubsub.requests() == 1


async def test_a_missing_role_is_named_with_whom_to_grant_it(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        assert pubsub.identity is not None
        pubsub.identity.revoke(TOPIC)
        with pytest.raises(Unauthorized, match=r"grant roles/pubsub\.publisher on the topic to router@plant"):
            await sink.write([make_message()])


async def test_an_answer_that_is_not_pubsubs_does_not_count_as_delivered(pubsub: PubsubServer, account: Mapping[str, Any]) -> None:
    """A captive portal answers 200 to everything."""
    from aiohttp import web

    async def portal(request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        return web.Response(text="<html>Welcome to our hotel</html>")

    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        pubsub.routes.insert(0, ("POST", pubsub.routes[3][1], portal))
        with pytest.raises(Unavailable, match="not Pub/Sub's"):
            await sink.write([make_message()])


def test_the_service_is_known_without_a_connection() -> None:
    assert PubsubConfig(topic="plant").service_urls == ("https://pubsub.googleapis.com",)
    assert PubsubConfig(topic="plant", region="europe-west1").service_urls == ("https://europe-west1-pubsub.googleapis.com",)
    assert PubsubConfig(topic="plant", endpoint="http://127.0.0.1:8085").service_urls == ()
