"""The order of system calls: a message is on disk before its acknowledgement is sent."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from edgerouter.mqtt.packets import PacketReader
from support.load import Plan, load
from support.mosquitto import running
from support.promise import nothing_is_missing
from support.router import router

CALL = re.compile(r"^(?P<pid>\d+) +(?:<\.\.\. )?(?P<name>\w+)[ (](?P<rest>.*)$")
TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')


@asynccontextmanager
async def traced(pid: int, output: Path) -> AsyncIterator[None]:
    """Record what a process reads from sockets, syncs and sends, in the order of the calls."""
    if shutil.which("strace") is None:
        pytest.skip("needs strace")
    calls = "trace=recvfrom,sendto,fsync,fdatasync"
    command = ["strace", "-f", "-xx", "-s", "200000", "-e", calls, "-o", str(output), "-p", str(pid)]
    process = await asyncio.create_subprocess_exec(*command, stderr=asyncio.subprocess.PIPE)
    assert process.stderr is not None
    first = (await process.stderr.readline()).decode()
    if "attached" not in first:
        pytest.skip(f"this machine does not let strace look: {first.strip()}")
    try:
        yield
    finally:
        process.terminate()
        await process.communicate()


def read_before_sync(trace: str) -> tuple[int, list[bytes]]:
    """Return the number of acknowledgements, and the packet ids of those that no sync preceded since their publish was read.

    A call that another thread interrupted stands in two lines: what is read or synced counts at its end, what is sent at its start.
    """
    unsynced: set[bytes] = set()
    syncing: dict[str, set[bytes]] = {}
    early: list[bytes] = []
    acknowledged = 0

    def received(command: int, body: bytes) -> bool:
        if command & 0xF6 == 0x32:
            topic = int.from_bytes(body[:2])
            unsynced.add(body[2 + topic : 4 + topic])
        return True

    def sent(command: int, body: bytes) -> bool:
        nonlocal acknowledged
        if command == 0x40:
            acknowledged += 1
            early.extend([body] if body in unsynced else [])
        return True

    reader = PacketReader(received, largest=1 << 20)
    for line in trace.splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        name, rest = call["name"], call["rest"]
        begins, ends = "resumed>" not in rest, "<unfinished" not in rest
        data = bytes.fromhex("".join(TEXT.findall(rest)).replace("\\x", ""))
        if name == "recvfrom" and ends:
            reader.feed(data)
        elif name in ("fsync", "fdatasync"):
            if begins:
                syncing[call["pid"]] = set(unsynced)
            if ends:
                unsynced -= syncing.pop(call["pid"], set())
        elif name == "sendto" and begins and data[:2] == b"\x40\x02":
            PacketReader(sent, largest=1 << 20).feed(data)
    return acknowledged, early


@pytest.mark.timeout(90)
@pytest.mark.parametrize("rate", [20, 1000])
async def test_no_acknowledgement_is_sent_before_its_message_is_synced_to_disk(tmp_path: Path, rate: int) -> None:
    messages = 5 * rate // 2
    with running(tmp_path / "broker", "max_inflight_messages 500", "max_queued_messages 0") as broker:
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "receive_maximum": 500}},
            "sinks": {"files": {"type": "file", "path": str(tmp_path / "files"), "fsync": "never"}},
        }
        async with router(tmp_path, config) as process:
            await process.start()
            async with traced(process.pid, tmp_path / "trace"), load(Plan(broker.port, rate=rate, messages=messages)) as publisher:
                report = await publisher.finish()
                await process.until(lambda status: status["sinks"]["files"]["delivered"] == messages, 30)
            nothing_is_missing(tmp_path / "files", report, repeats=0)

    acknowledged, early = read_before_sync((tmp_path / "trace").read_text())
    assert acknowledged == messages
    assert early == []
