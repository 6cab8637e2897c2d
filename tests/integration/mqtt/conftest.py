"""Fixtures for tests of the MQTT source."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    """Return a broker that drops nothing of what waits for a client."""
    with Mosquitto(tmp_path / "broker", ["max_queued_messages 100000"]) as started:
        yield started
