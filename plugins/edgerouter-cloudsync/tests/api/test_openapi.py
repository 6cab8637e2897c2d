"""The description of the API is true: requests made from it never find a fault of the server.

Covers: edgerouter_cloudsync.api.openapi.
"""

from __future__ import annotations

import asyncio
import os
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, Phase, given, settings

from edgerouter_cloudsync.api.openapi import BASE
from support.cloudsync import plant

EXAMPLES = int(os.environ.get("CLOUDSYNC_EXAMPLES", "3"))
"""Requests for each call; the long form uses thousands."""
UNDOCUMENTED = {404, 405, 408}
"""Statuses that HTTP itself has."""


def explore(root: str) -> dict[str, int]:
    """Send requests that the description allows, and ones that it does not; return their number by call."""
    import schemathesis

    document = requests.get(f"{root}{BASE}/openapi.json", timeout=10).json()
    schema = schemathesis.openapi.from_dict(document)
    modes = [schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE]
    sent: dict[str, int] = {}
    for found in schema.get_all_operations():
        operation = found.ok()  # type: ignore[union-attr]  # an error raises
        for mode in modes:

            @given(case=operation.as_strategy(generation_mode=mode))
            @settings(
                max_examples=EXAMPLES,
                phases=[Phase.generate],
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
            )
            def try_one(case: Any) -> None:
                response = case.call(base_url=root)
                assert response.status_code < 500 or response.status_code in (502, 503), response.text
                known = {int(each) for each in case.operation.definition.raw["responses"]}
                assert response.status_code in known | UNDOCUMENTED, (response.status_code, response.text)
                sent[case.operation.label] = sent.get(case.operation.label, 0) + 1

            try:
                try_one()
            except Exception as error:
                if "Unsatisfiable" not in type(error).__name__:  # a call without parameters cannot be sent wrongly
                    raise
    return sent


@pytest.mark.filterwarnings("ignore")
async def test_requests_made_from_the_description_find_no_server_error() -> None:
    limits = {"answer_within": 0.02, "max_requests_per_second": 1e6}
    async with plant(brokers={"broker.example": {"url": "mqtt://127.0.0.1:1", "connect_timeout": 0.1}}, source=limits) as running:
        sent = await asyncio.to_thread(explore, f"http://127.0.0.1:{running.source.port}")
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
