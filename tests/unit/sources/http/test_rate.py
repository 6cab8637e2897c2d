"""A client that sends more than its share is answered with 429 and the time to wait; others are not affected."""

from typing import Any

import pytest

from edgerouter.http_server.problems import Problem
from edgerouter.sources.http.config import RateConfig
from edgerouter.sources.http.rate import RateLimit
from support.http_source import serving


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def limit(clock: Clock, **config: Any) -> RateLimit:
    return RateLimit(RateConfig.model_validate(config), clock)


def send(rate: RateLimit, client: str, messages: int = 1) -> int:
    """Return the seconds to wait; 0 if the messages are accepted."""
    try:
        rate.check(client)
    except Problem as problem:
        return int(problem.headers["Retry-After"])
    rate.count(client, messages)
    return 0


def test_a_second_s_worth_may_come_at_once_and_the_rest_in_time() -> None:
    clock = Clock()
    rate = limit(clock, client_messages=5)
    assert [send(rate, "a") for _ in range(6)] == [0, 0, 0, 0, 0, 1]
    assert send(rate, "b") == 0
    clock.now += 0.2
    assert [send(rate, "a") for _ in range(2)] == [0, 1]


def test_a_batch_leaves_a_debt_that_later_requests_wait_for() -> None:
    clock = Clock()
    rate = limit(clock, messages=10)
    assert send(rate, "a", 100) == 0
    assert send(rate, "b") == 10
    clock.now += 9.2
    assert send(rate, "b") == 0


def test_less_than_one_message_a_second_is_possible() -> None:
    clock = Clock()
    rate = limit(clock, client_messages=0.1)
    assert [send(rate, "a") for _ in range(2)] == [0, 10]


def test_the_number_of_clients_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Clock()
    rate = limit(clock, client_messages=1)
    for number in range(20_000):
        assert send(rate, f"2001:db8::{number:x}") == 0
    assert send(rate, "2001:db8::1") == 0, "forgotten"
    assert send(rate, "2001:db8::4e1f") == 1, "remembered"


async def test_a_client_is_its_token_or_its_address() -> None:
    tokens = {"a": {"token": "0123456789abcdef"}, "b": {"token": "fedcba9876543210"}}
    async with serving(tokens=tokens, rate={"client_messages": 0.5}) as web:
        for _ in range(2):
            first = await web.ask("/topics/a", Authorization="Bearer 0123456789abcdef")
        other = await web.ask("/topics/a", Authorization="Bearer fedcba9876543210")
    async with serving(rate={"client_messages": 0.5}) as web:
        assert [(await web.ask("/topics/a")).status for _ in range(2)] == [202, 429]
    assert (first.status, first.headers["retry-after"], other.status) == (429, "2", 202)
