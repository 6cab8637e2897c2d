"""The description of the admin API is true: requests made from it never find a fault of the router.

Covers: edgerouter.admin.api.openapi.
"""

from __future__ import annotations

import asyncio
import logging
import os
from pathlib import Path

import pytest

from edgerouter.admin.api.endpoint import PREFIX
from edgerouter.admin.api.table import ENDPOINTS
from edgerouter.steering import Drained, Steering
from support.admin_api import TOKEN, box
from support.openapi import explore

EXAMPLES = int(os.environ.get("ADMIN_EXAMPLES", "2"))
"""Requests of each kind for each call; the long form uses hundreds."""


async def _stay(_: Steering, timeout: float | None = None) -> Drained:  # noqa: ASYNC109  (as the original)
    return Drained({}, 0, timeout or 0.0)


@pytest.mark.filterwarnings("ignore")
async def test_requests_made_from_the_description_find_no_server_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The answers are as described, too. Only the drain is not what it says: it would end the router."""
    monkeypatch.setattr(Steering, "drain", _stay)
    before = logging.getLogger("edgerouter").level
    try:
        async with box(tmp_path) as it:
            root, headers = f"http://127.0.0.1:{it.port}", {"Authorization": f"Bearer {TOKEN}"}
            sent = await asyncio.to_thread(explore, root, f"{PREFIX}/openapi.json", examples=EXAMPLES, headers=headers)
            assert (await it.get("/readyz"))["ready"] is True
    finally:
        logging.getLogger("edgerouter").setLevel(before)
    assert sent.keys() == {f"{each.method} {PREFIX}{each.path}" for each in ENDPOINTS if not each.only_owner}
