"""A broker, under the name that requests give it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from support.mosquitto import Mosquitto


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker") as running:
        yield running


@pytest.fixture
def listed(broker: Mosquitto) -> dict[str, Any]:
    """The broker, under the name that the documentation of CloudSync uses."""
    return {"brokers": {"broker.example": {"url": broker.url}}}
