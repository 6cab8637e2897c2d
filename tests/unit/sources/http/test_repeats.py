"""A request with an Idempotency-Key is stored once, even if its first answer was lost in a crash."""

import asyncio

from support.http_source import serving
from support.pipeline import until


async def test_a_repeated_request_is_answered_and_not_stored_again() -> None:
    async with serving() as web:
        first = await web.ask("/topics/a", b"1", Idempotency_Key="k")
        again = await web.ask("/topics/a", b"1", Idempotency_Key="k")
        other = await web.ask("/topics/a", b"1", Idempotency_Key="l")
    assert [answer.status for answer in (first, again, other)] == [202] * 3
    assert [answer.headers.get("idempotent-replayed") for answer in (first, again, other)] == [None, "true", None]
    assert len(web.stored) == 2


async def test_a_key_of_another_request_is_refused_and_other_clients_have_their_own() -> None:
    tokens = {"a": {"token": "0123456789abcdef"}, "b": {"token": "fedcba9876543210"}}
    async with serving(tokens=tokens) as web:
        for token, topic, body, status in (
            ("0123456789abcdef", "a", b"1", 202),
            ("0123456789abcdef", "a", b"2", 422),
            ("0123456789abcdef", "b", b"1", 422),
            ("fedcba9876543210", "b", b"2", 202),
        ):
            answer = await web.ask(f"/topics/{topic}", body, Authorization=f"Bearer {token}", Idempotency_Key="k")
            assert answer.status == status
    assert len(web.stored) == 2


async def test_a_repeat_that_comes_before_the_commit_is_asked_to_come_again() -> None:
    async with serving() as web, web.client() as first:
        web.stores.clear()
        first.send("/topics/a", Idempotency_Key="k")
        await until(lambda: web.source.waiting.inbox.messages == 1)
        assert (await web.ask("/topics/a", Idempotency_Key="k")).headers["retry-after"] == "1"
        web.stores.set()
        assert (await first.answer()).status == 202
        assert (await web.ask("/topics/a", Idempotency_Key="k")).status == 202
    assert len(web.stored) == 1


async def test_a_request_that_was_answered_too_early_with_503_is_recognised_once_it_is_stored() -> None:
    async with serving(answer_timeout="100ms") as web:
        web.stores.clear()
        assert (await web.ask("/topics/a", Idempotency_Key="k")).status == 503
        web.stores.set()
        await until(lambda: len(web.stored) == 1)
        assert (await web.ask("/topics/a", Idempotency_Key="k")).status == 202
    assert len(web.stored) == 1


async def test_receipts_of_an_earlier_run_are_recognised() -> None:
    async with serving() as web:
        async with web.client() as one, web.client() as two:
            web.stores.clear()
            one.send("/topics/a", b"1", Idempotency_Key="k")
            two.send("/topics/a", b"2", Idempotency_Key="l")
            await until(lambda: web.source.waiting.inbox.messages == 2)
            web.stores.set()
            await asyncio.gather(one.answer(), two.answer())
        earlier = list(web.deliveries)
    async with serving(unacknowledged=earlier) as web:
        assert (await web.ask("/topics/a", b"1", Idempotency_Key="k")).status == 202
        assert (await web.ask("/topics/a", b"2", Idempotency_Key="l")).status == 202
        assert (await web.ask("/topics/a", b"3", Idempotency_Key="k")).status == 422
    assert not web.stored


async def test_the_number_of_keys_is_bounded_and_so_is_their_length() -> None:
    async with serving(max_idempotency_keys=2) as web:
        for key in ("a", "b", "c", "a"):
            assert (await web.ask("/topics/a", Idempotency_Key=key)).status == 202
        assert (await web.ask("/topics/a", Idempotency_Key="x" * 300)).status == 400
    assert len(web.stored) == 4
