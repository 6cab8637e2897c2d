"""What is measured: edgerouter and the baseline, each a process of its own on a broker of its own."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.output import Output

from support.load import Plan, load

Name = Literal["edgerouter", "baseline"]

ROUTER = """\
sources:
  bench: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", topics: ["sensors/#"], qos: {qos}}}
spool: {{path: "{folder}/spool"}}
sinks:
  file: {{type: file, path: "{folder}/out", topics: ["sensors/#"]}}
log: {{level: warning}}
"""
BROKER = """\
listener {port} 127.0.0.1
allow_anonymous true
max_queued_messages 0
max_inflight_messages 65535
persistence false
log_type none
"""


@dataclass(frozen=True, slots=True)
class Subject:
    """A running subject, connected and subscribed."""

    pid: int
    port: int
    output: Output


def free_port() -> int:
    """A TCP port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """A process that is gone when the block is left."""
    running = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


@asynccontextmanager
async def broker(folder: Path) -> AsyncIterator[int]:
    """A mosquitto that holds back nothing; yields its port."""
    port = free_port()
    file = folder / "mosquitto.conf"
    file.write_text(BROKER.format(port=port))
    async with process("mosquitto", "-c", str(file)):
        async with asyncio.timeout(10):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.02)
                else:
                    writer.close()
                    break
        yield port


@asynccontextmanager
async def subject(name: Name, qos: int, folder: Path) -> AsyncIterator[Subject]:
    """Start a broker and a subject; yield once a message has come through."""
    out = folder / "out"
    out.mkdir(parents=True)
    async with broker(folder) as port:
        if name == "edgerouter":
            config = folder / "edgerouter.yaml"
            config.write_text(ROUTER.format(port=port, qos=qos, folder=folder))
            command = [str(Path(sys.executable).with_name("edgerouter")), "run", "-c", str(config)]
        else:
            script = Path(__file__).with_name("baseline.py")
            command = [sys.executable, str(script), str(port), str(qos), str(out / "messages.jsonl")]
        output = Output(out)
        async with process(*command) as running:
            async with load(Plan(port, topics=("sensors/first",), rate=20, qos=1, client_id="first")) as first:
                await output.until(1, timeout=30)
                report = await first.stop()
            # those sent before the subscription never come, the others do within this time
            with suppress(TimeoutError):
                await output.ages(output.lines + report.sent, timeout=0.3)
            yield Subject(running.pid, port, output)
