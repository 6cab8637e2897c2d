"""Real NATS servers, started once for the tests that leave them as they are.

Their stores are in memory where there is room: they are killed, and lose no power, so a synced file need not reach a disk.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.nats.cluster import NatsServer

MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3


@pytest.fixture(scope="session")
def store() -> Iterator[Path]:
    """A folder for the stores of servers."""
    quick = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    with tempfile.TemporaryDirectory(
        prefix="edgerouter-nats-", dir=MEMORY if quick else None, ignore_cleanup_errors=True
    ) as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def nats(store: Path) -> Iterator[NatsServer]:
    """One server with JetStream, shared: a test names its streams after itself, and does not stop it."""
    with NatsServer(store / "shared") as server:
        yield server


@pytest.fixture
def server(store: Path) -> Iterator[NatsServer]:
    """One server with JetStream for this test."""
    folder = Path(tempfile.mkdtemp(dir=store))
    with NatsServer(folder) as server:
        yield server
    shutil.rmtree(folder, ignore_errors=True)
