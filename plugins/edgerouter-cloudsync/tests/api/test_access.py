"""Callers on other machines, web pages and callers that are too fast are refused."""

from __future__ import annotations

from ipaddress import ip_network
from types import SimpleNamespace
from typing import Any, cast

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from edgerouter_cloudsync.api.access import Access
from edgerouter_cloudsync.api.answers import Refusal
from support.cloudsync import plant


class Caller:
    """The connection of a caller."""

    def __init__(self, peer: str, own: str) -> None:
        self._addresses = {"peername": (peer, 40_000), "sockname": (own, 56_001)}

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return self._addresses.get(name, default)

    def is_closing(self) -> bool:
        return False


def request(peer: str, own: str = "10.0.0.1", **headers: str) -> web.BaseRequest:
    transport: Any = Caller(peer, own)
    return make_mocked_request("GET", "/", headers={"Host": "10.0.0.1:56001", **headers}, transport=transport)


def status(access: Access, asked: web.BaseRequest) -> int:
    try:
        access.check(asked)
    except Refusal as refusal:
        return refusal.answer.status
    return 200


def access(*networks: str, per_second: float = 1000, clock: Any = lambda: 0.0) -> Access:
    return Access([ip_network(each) for each in networks], per_second, clock)


@pytest.mark.parametrize("peer", ["127.0.0.1", "127.3.2.1", "::1", "10.0.0.1", "::ffff:127.0.0.1"])
def test_a_caller_on_this_machine_is_let_in(peer: str) -> None:
    assert status(access(), request(peer)) == 200


def test_a_caller_elsewhere_is_refused_unless_its_network_is_allowed() -> None:
    with pytest.raises(Refusal) as raised:
        access().check(request("10.0.0.2"))
    assert (raised.value.answer.status, raised.value.answer.legacy, raised.value.answer.legacy_body) == (403, 406, False)
    assert status(access("10.0.0.0/24"), request("10.0.0.2")) == 200
    assert status(access("10.0.1.0/24"), request("10.0.0.2")) == 403
    assert status(access("10.0.0.0/24"), request("::ffff:10.0.0.2", "::ffff:10.0.0.1")) == 200


def test_a_web_page_is_refused_and_so_is_a_name_that_was_bent_to_this_machine() -> None:
    assert status(access(), request("127.0.0.1", Origin="http://evil.example")) == 403
    assert status(access(), request("127.0.0.1", Host="evil.example")) == 403
    for host in ("localhost:56001", "edge-box:56001", "edge.local", "[::1]:56001", "127.0.0.1"):
        assert status(access(), request("127.0.0.1", Host=host)) == 200


def test_requests_over_the_rate_are_refused_until_time_has_passed() -> None:
    now = SimpleNamespace(seconds=0.0)
    limited = access(per_second=2, clock=lambda: now.seconds)
    assert [status(limited, request("127.0.0.1")) for _ in range(3)] == [200, 200, 429]
    now.seconds = 0.5
    assert [status(limited, request("127.0.0.1")) for _ in range(2)] == [200, 429]
    with pytest.raises(Refusal) as raised:
        limited.check(request("127.0.0.1"))
    assert cast("dict[str, str]", raised.value.answer.headers)["Retry-After"] == "1"


async def test_the_api_refuses_what_comes_too_fast() -> None:
    async with plant(source={"max_requests_per_second": 1}) as running:
        statuses = [(await running.get("health"))[0] for _ in range(3)]
    assert statuses[0] == 200
    assert 429 in statuses
