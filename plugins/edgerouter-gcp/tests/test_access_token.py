"""Access tokens: one attempt, shared, refreshed before they end, and replaced when Google refuses one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from edgerouter import Throttled, Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_gcp.access_token import AccessToken
from edgerouter_gcp.credentials import Credentials
from edgerouter_gcp.pubsub.sink import PubsubConfig, PubsubSink
from support.google.identity import ACCOUNT, Identity
from support.google.pubsub import PubsubServer

TOPIC = "projects/plant/topics/telemetry"


@pytest.fixture
async def token(identity: Identity) -> AsyncIterator[AccessToken]:
    async with aiohttp.ClientSession() as session:
        token = AccessToken(Credentials(identity.service_account(), "a test"), session, ["scope"])
        yield token
        await token.close()


def configured(server: PubsubServer, account: Mapping[str, Any]) -> PubsubConfig:
    return PubsubConfig.model_validate({"topic": "telemetry", "endpoint": server.url, **account})


async def test_many_who_wait_share_one_request(token: AccessToken, identity: Identity) -> None:
    values = await asyncio.gather(*(token.get() for _ in range(100)))
    assert len(set(values)) == 1
    assert identity.issued == [ACCOUNT]


async def test_one_who_gives_up_does_not_take_the_token_from_the_others(token: AccessToken, identity: Identity) -> None:
    impatient = asyncio.create_task(token.get())
    patient = asyncio.create_task(token.get())
    await asyncio.sleep(0)
    impatient.cancel()
    assert await patient is not None
    with pytest.raises(asyncio.CancelledError):
        await impatient
    assert identity.issued == [ACCOUNT]


async def test_a_failure_is_one_attempt_and_told_to_all(token: AccessToken, identity: Identity) -> None:
    identity.outage = web.Response(status=503)
    results = await asyncio.gather(*(token.get() for _ in range(10)), return_exceptions=True)
    assert {type(result) for result in results} == {Unavailable}
    identity.outage = None
    assert await token.get() is not None


async def test_a_token_endpoint_that_wants_less_is_heard(token: AccessToken, identity: Identity) -> None:
    identity.outage = web.json_response(
        {"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "slow down"}}, status=429
    )
    with pytest.raises(Throttled):
        await token.get()


async def test_a_nonsensical_answer_of_the_token_endpoint_is_unavailable(token: AccessToken, identity: Identity) -> None:
    identity.outage = web.Response(text="<html>Welcome to our hotel</html>", content_type="text/html")
    with pytest.raises(Unavailable):
        await token.get()


async def test_a_token_is_replaced_in_good_time_without_a_wait(token: AccessToken, identity: Identity) -> None:
    identity.told_lifetime = 1  # at half of it a new one is fetched, at 95 % the old one is not used any more
    first = await token.get()
    await until(lambda: len(identity.issued) >= 2, token)
    # the service has given it out; it may still be on its way
    async with asyncio.timeout(10):
        while await token.get() == first:
            await asyncio.sleep(0.01)


async def test_an_early_refresh_that_fails_leaves_the_token_in_use(token: AccessToken, identity: Identity) -> None:
    token.background_refresh_after = 0.0
    first = await token.get()
    identity.outage = web.Response(status=503)
    assert await token.get() == first
    await until(lambda: identity.refused == 1, token)
    assert await token.get() == first


async def until(condition: Any, token: AccessToken) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await token.get()
            await asyncio.sleep(0.01)


async def test_tokens_that_end_all_the_time_lose_nothing_under_load(
    pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]
) -> None:
    identity.lifetime = identity.told_lifetime = 1
    batches = [make_messages([b"%d" % n], start=n) for n in range(1, 401)]
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        async with asyncio.timeout(30):
            while batches or len(identity.issued) < 3:
                now, batches = batches[:8], batches[8:]
                await asyncio.gather(*(sink.write(batch) for batch in now or [make_messages([b"more"], start=1000)]))
    data = {item.data for item in pubsub.topics[TOPIC].messages}
    assert data >= {b"%d" % n for n in range(1, 401)}


async def test_a_token_that_is_revoked_is_replaced_at_the_next_attempt(
    pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]
) -> None:
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        await sink.write([make_message()])
        identity.end_all_tokens()
        with pytest.raises(Unavailable, match="a new one is taken") as caught:
            await sink.write([make_message(sequence=2)])
        assert not isinstance(caught.value, Unauthorized)
        await sink.write([make_message(sequence=2)])
    assert len(pubsub.topics[TOPIC].messages) == 2


async def test_fresh_tokens_that_are_refused_are_unauthorized(
    pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]
) -> None:
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        identity.lifetime = -1.0
        identity.told_lifetime = 3600.0
        identity.end_all_tokens()
        with pytest.raises(Unavailable):
            await sink.write([make_message()])
        with pytest.raises(Unauthorized, match="refuses the access token of router@plant"):
            await sink.write([make_message()])


async def test_no_error_shows_the_access_token(pubsub: PubsubServer, identity: Identity, account: Mapping[str, Any]) -> None:
    async with PubsubSink.open(configured(pubsub, account), make_context()) as sink:
        await pubsub.fail()
        with pytest.raises(Unavailable) as caught:
            await sink.write([make_message()])
        shown = ""
        error: BaseException | None = caught.value
        while error is not None:
            shown += f"{error!r} {error}"
            error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        assert "ya29." not in shown
