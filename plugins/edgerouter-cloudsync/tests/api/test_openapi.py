"""The description of the API is true: requests made from it never find a fault of the server.

Covers: edgerouter_cloudsync.api.openapi.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest

from edgerouter_cloudsync.api.openapi import BASE
from support.cloudsync import plant
from support.openapi import explore

EXAMPLES = int(os.environ.get("CLOUDSYNC_EXAMPLES", "3"))
"""Requests for each call; the long form uses thousands."""


@pytest.mark.filterwarnings("ignore")
async def test_requests_made_from_the_description_find_no_server_error() -> None:
    limits = {"answer_within": 0.02, "max_requests_per_second": 1e6}
    async with plant(brokers={"broker.example": {"url": "mqtt://127.0.0.1:1", "connect_timeout": 0.1}}, source=limits) as running:
        root, path = f"http://127.0.0.1:{running.source.port}", f"{BASE}/openapi.json"
        sent = await asyncio.to_thread(explore, root, path, examples=EXAMPLES, faults={502, 503}, conforming=False)
    assert len(sent) == 9
    assert all(sent.values())


async def test_tokens_are_part_of_the_description_where_they_are_asked_for(tmp_path: Any) -> None:
    async with plant() as running:
        assert "security" not in (await running.get("openapi.json"))[1]
    fields = {"tokens": {"pass_phrase": str(tmp_path / "phrase")}}
    async with plant(source=fields) as running:
        import jwt

        phrase = (tmp_path / "phrase").read_text()
        header = {"Authorization": jwt.encode({"aud": "Admin", "exp": 2**31}, phrase, "HS256")}
        assert (await running.send("GET", "openapi.json", headers=header))[1]["security"] == [{"token": []}]
