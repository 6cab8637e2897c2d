"""The source half-closes its connection: the broker reads every acknowledgement, however much of its own data is unread.

Covers: edgerouter.mqtt.closing.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from support.certificates import Authority
from support.load import Plan, load
from support.mosquitto import Mosquitto, free_port
from support.mqtt_source import opened

BACKLOG = 6_000


@pytest.mark.parametrize("scheme", ["mqtt", "mqtts", "ws"])
async def test_the_broker_reads_every_acknowledgement_before_the_connection_ends(tmp_path: Path, scheme: str) -> None:
    """No acknowledged message arrives again, although much of the broker's data was never read."""
    authority = Authority(tmp_path / "authority")
    server = authority.issue("localhost")
    port = free_port()
    lines = {
        "mqtt": [],
        "mqtts": [f"cafile {authority.certificate}", f"certfile {server.certificate}", f"keyfile {server.key}"],
        "ws": ["protocol websockets"],
    }[scheme]
    settings = ["max_queued_messages 0", "log_type error", f"listener {port} 127.0.0.1", *lines]
    options: dict[str, Any] = {"tls": {"ca": authority.certificate}} if scheme == "mqtts" else {}
    with Mosquitto(tmp_path / "broker", settings) as broker:
        url = f"{scheme}://localhost:{port}"
        async with opened(url, "sensors/#", **options) as source:
            await source.connected()
        async with load(Plan(broker.port, messages=BACKLOG)) as publisher:
            await publisher.finish()
        async with opened(url, "sensors/#", **options) as source:
            first = await source.messages(BACKLOG // 4)
        async with opened(broker, "sensors/#") as source:
            rest = await source.messages(BACKLOG - len(first))
            await source.nothing_comes()
    seen = [(message.topic, json.loads(message.payload)["n"]) for message in first + rest]
    assert len(seen) == len(set(seen)) == BACKLOG
