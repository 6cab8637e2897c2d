"""systemd learns that the router is ready, its state and its end; the watchdog is fed only while loop and spool work."""

from __future__ import annotations

import asyncio
import os
import socket
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from edgerouter.config.model import SpoolConfig
from edgerouter.spool import open_spool
from edgerouter.tasks.thread import Worker
from edgerouter.telemetry.service_manager import Reports, ServiceManager
from support.router import router


class Manager:
    """systemd's end of the socket."""

    def __init__(self, address: str) -> None:
        self.address = address
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind("\0" + address[1:] if address.startswith("@") else address)
        self.socket.setblocking(False)
        self.received: list[str] = []

    async def until(self, line: str, seconds: float = 20) -> None:
        """Receive until an assignment comes that begins so."""
        async with asyncio.timeout(seconds):
            while not any(each.startswith(line) for each in self.take()):
                await asyncio.sleep(0.01)

    def take(self) -> list[str]:
        """Return the assignments that have come since the last call."""
        taken: list[str] = []
        with suppress(BlockingIOError):
            while True:
                taken += self.socket.recv(4096).decode().splitlines()
        self.received += taken
        return taken


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    path = str(tmp_path / "notify") if request.param == "path" else f"@edgerouter-test-{os.getpid()}"
    manager = Manager(path)
    yield manager
    manager.socket.close()


async def test_a_router_reports_its_start_its_state_and_its_end(manager: Manager, tmp_path: Path) -> None:
    config = {"sources": {"in": {"type": "http", "listen": "127.0.0.1:0"}}, "sinks": {"out": {"type": "stdout"}}}
    environment = {"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "600000"}
    async with router(tmp_path, config, environment) as process:
        await process.start()
        await manager.until("READY=1")
        await manager.until("WATCHDOG=1")
        await manager.until("WATCHDOG=1")
        assert await process.stop() == 0
        await manager.until("STOPPING=1")
    states = [line for line in manager.received if line.startswith("STATUS=")]
    assert "messages wait" in states[0]
    assert states[-1].startswith("STATUS=stopping")
    assert manager.received[0].startswith("EXTEND_TIMEOUT_USEC=")


def reports(manager: ServiceManager, spool: Worker) -> Reports:
    """Reports of a router that runs, with the thread behind its spool."""
    running = asyncio.Event()
    running.set()
    return Reports(
        manager, running=running, stop=asyncio.Event(), beat=lambda: spool.run(lambda: None), summary=lambda: "a\n\x00b" * 500
    )


async def test_a_database_thread_that_hangs_ends_the_signs_of_life(manager: Manager, caplog: pytest.LogCaptureFixture) -> None:
    spool = Worker("spool")
    client = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "150000"})
    task = asyncio.create_task(reports(client, spool).run())
    await manager.until("WATCHDOG=1")
    hangs = threading.Event()
    spool.submit(hangs.wait)
    await asyncio.sleep(0.1)
    manager.take()
    await asyncio.sleep(0.3)
    assert "WATCHDOG=1" not in manager.take()
    hangs.set()
    await manager.until("WATCHDOG=1")
    task.cancel()
    await spool.close()
    client.close()
    assert max(map(len, manager.received)) < 600


async def test_an_event_loop_that_is_held_ends_the_signs_of_life(manager: Manager) -> None:
    spool = Worker("spool")
    client = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "90000"})
    task = asyncio.create_task(reports(client, spool).run())
    await manager.until("WATCHDOG=1")
    manager.take()
    threading.Event().wait(0.3)  # holds the loop
    assert manager.take() == []
    await manager.until("WATCHDOG=1")
    task.cancel()
    await spool.close()
    client.close()


async def test_a_state_that_cannot_be_made_does_not_end_the_signs_of_life(manager: Manager) -> None:
    client = ServiceManager({"NOTIFY_SOCKET": manager.address, "WATCHDOG_USEC": "90000"})
    running, faults = asyncio.Event(), iter(())
    running.set()
    failing = Reports(client, running=running, stop=asyncio.Event(), beat=lambda: asyncio.sleep(0), summary=lambda: next(faults))
    task = asyncio.create_task(failing.run())
    await manager.until("WATCHDOG=1")
    await manager.until("WATCHDOG=1")
    assert "STATUS=running" in manager.received
    task.cancel()
    client.close()


@pytest.mark.parametrize("kind", ["sqlite", "memory"])
async def test_every_spool_answers(kind: str, tmp_path: Path) -> None:
    async with open_spool(SpoolConfig.model_validate({"type": kind, "path": tmp_path})) as spool, asyncio.timeout(5):
        await spool.beat()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
    ],
)
def test_the_watchdog_is_fed_only_where_systemd_waits_for_this_process(environment: dict[str, str], seconds: float | None) -> None:
    client = ServiceManager(environment | {"NOTIFY_SOCKET": "/nowhere"})
    assert client.watchdog_seconds == seconds
    client.close()


@pytest.mark.parametrize("address", ["/nowhere/at/all", "/" + "x" * 500, "@" + "x" * 500, "@"])
def test_a_manager_that_does_not_listen_costs_nothing(address: str) -> None:
    client = ServiceManager({"NOTIFY_SOCKET": address})
    client.notify(READY=1)
    client.close()


def test_a_manager_that_does_not_read_holds_up_nothing(manager: Manager) -> None:
    client = ServiceManager({"NOTIFY_SOCKET": manager.address})
    for _ in range(1000):
        client.notify(STATUS="x" * 400)
    client.close()


@pytest.mark.parametrize("environment", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
async def test_without_a_manager_nothing_is_sent(environment: dict[str, str]) -> None:
    client = ServiceManager(environment)
    assert not client.listens
    client.notify(READY=1)
    await Reports(client, running=asyncio.Event(), stop=asyncio.Event(), beat=lambda: asyncio.sleep(0), summary=str).run()
