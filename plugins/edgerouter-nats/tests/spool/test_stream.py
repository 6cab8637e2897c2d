"""A start waits for what passes, and refuses what does not."""

from __future__ import annotations

import pytest

from edgerouter.errors import SpoolUnusable
from edgerouter_nats.spool.api import ApiError
from edgerouter_nats.spool.stream import patiently
from support.nats.cluster import NatsServer
from support.nats.spools import opened


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


@pytest.mark.parametrize(
    ("field", "value", "wanted"),
    [
        ("no_ack", True, "none"),
        ("deny_purge", True, "none"),
        ("max_msg_size", 1000, "-1"),
        ("subject_transform", {"src": "EDITED.chunks.*", "dest": "EDITED.chunks.other"}, "none"),
    ],
)
async def test_an_edit_that_keeps_chunks_from_being_stored_found_or_trimmed_is_named_with_its_cure(
    server: NatsServer, field: str, value: object, wanted: str
) -> None:
    async with opened([server.url], "EDITED") as spool:
        api = spool.engine.api
        config = (await api.request("STREAM.INFO.EDITED", None))["config"]
        await api.request("STREAM.UPDATE.EDITED", config | {field: value})
        await spool.engine.trimming.refresh()
        assert spool.status.reason.startswith(f"the stream EDITED has {field}: ")
        assert spool.status.reason.endswith(f", and a spool needs {wanted}: change it with `nats stream edit`")
    with pytest.raises(SpoolUnusable, match=f"the stream EDITED has {field}: "):
        async with opened([server.url], "EDITED"):
            pass
