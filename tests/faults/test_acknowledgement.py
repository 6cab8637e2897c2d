"""The order of system calls: a message is on disk before its acknowledgement is sent."""

from __future__ import annotations

import asyncio
import re
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

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


def packets(stream: bytearray) -> Iterator[bytes]:
    """Take the whole packets off a stream: first byte and body of each."""
    while len(stream) >= 2:
        length = shift = 0
        at = 1
        while at < len(stream):
            length |= (stream[at] & 127) << shift
            shift += 7
            at += 1
            if stream[at - 1] < 128:
                break
        else:
            return
        if len(stream) < at + length:
            return
        yield bytes(stream[:1] + stream[at : at + length])
        del stream[: at + length]


def identifiers(stream: bytearray) -> Iterator[bytes]:
    """Take the packet ids of the publishes of QoS 1 off a stream."""
    for packet in packets(stream):
        if packet[0] & 0xF6 == 0x32:
            topic = int.from_bytes(packet[1:3])
            yield packet[3 + topic : 5 + topic]


def read_before_sync(trace: str) -> tuple[int, list[bytes]]:
    """Return the number of acknowledgements, and the packet ids of those that no sync preceded since their publish was read.

    A call that another thread interrupted stands in two lines: what is read or synced counts at its end, what is sent at its start.
    """
    stream = bytearray()
    unsynced: set[bytes] = set()
    syncing: dict[str, set[bytes]] = {}
    early: list[bytes] = []
    acknowledged = 0
    for line in trace.splitlines():
        call = CALL.match(line)
        if call is None:
            continue
        name, rest = call["name"], call["rest"]
        begins, ends = "resumed>" not in rest, "<unfinished" not in rest
        data = bytes.fromhex("".join(TEXT.findall(rest)).replace("\\x", ""))
        if name == "recvfrom" and ends:
            stream += data
            unsynced |= set(identifiers(stream))
        elif name in ("fsync", "fdatasync"):
            if begins:
                syncing[call["pid"]] = set(unsynced)
            if ends:
                unsynced -= syncing.pop(call["pid"], set())
        elif name == "sendto" and begins and data[:2] == b"\x40\x02":
            acks = [packet[1:] for packet in packets(bytearray(data)) if packet[0] == 0x40]
            acknowledged += len(acks)
            early += [ack for ack in acks if ack in unsynced]
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
