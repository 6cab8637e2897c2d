"""A start waits for what passes, and refuses what does not."""

from __future__ import annotations

import pytest

from edgerouter.errors import SpoolUnusable
from edgerouter_nats.spool.api import ApiError
from edgerouter_nats.spool.stream import patiently


async def test_a_start_while_a_server_of_the_cluster_is_away_waits_for_it() -> None:
    answers = [ApiError(10005, "no suitable peers for placement, peer offline"), ApiError(10008, "temporarily unavailable")]

    async def made() -> str:
        if answers:
            raise answers.pop()
        return "made"

    assert await patiently(made) == "made"


async def test_a_start_where_too_few_servers_can_hold_the_stream_is_refused() -> None:
    async def refused() -> str:
        raise ApiError(10005, "no suitable peers for placement, insufficient storage")

    with pytest.raises(SpoolUnusable, match="insufficient storage"):
        await patiently(refused)
