"""Subjects of the comparison: edgerouter, an older one, the floor and the baseline, each in its own process with its own broker."""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from benchmarks.output import Output

from support.load import Plan, load
from support.mosquitto import Mosquitto

Name = Literal["edgerouter", "before", "floor", "baseline", "QoS 2", "MQTT 3.1.1"]
"""The last two are edgerouter too: with a subscription of QoS 2, and with the older version of the protocol."""

ROUTER = """\
sources:
  bench: {{type: mqtt, url: "mqtt://127.0.0.1:{port}", topics: ["sensors/#"], qos: {qos}, protocol: "{protocol}"}}
spool: {{path: "{folder}/spool"}}
sinks:
  file: {{type: file, path: "{folder}/out", topics: ["sensors/#"], rotate: {{size: 100GiB}}}}
log: {{level: warning}}
"""
# the broker holds nothing back, so that the subject is measured; the subscription decides the quality of service
BROKER = ("max_queued_messages 0", "max_inflight_messages 65535", "upgrade_outgoing_qos true", "log_type error")


@dataclass(frozen=True, slots=True)
class Subject:
    """A running subject, connected and subscribed."""

    pid: int
    port: int
    output: Output
    spool: Path | None = None
    """Folder of the router's spool."""

    async def syncs(self) -> int | None:
        """Return the number of syncs to disk so far, of the spool and of the file; `None` where the subject does not count them."""
        if self.spool is None:
            return None
        command = [str(Path(sys.executable).with_name("edgerouter")), "status", "--spool", str(self.spool), "--json"]
        asking = await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
        status = json.loads((await asking.communicate())[0])
        return int(status["spool"]["commits"] + status["sinks"]["file"]["writes"])


@asynccontextmanager
async def process(*command: str) -> AsyncIterator[asyncio.subprocess.Process]:
    """Start a process and end it when the block exits."""
    running = await asyncio.create_subprocess_exec(*command, stdin=asyncio.subprocess.DEVNULL)
    try:
        yield running
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()


@asynccontextmanager
async def subject(name: Name, qos: int, folder: Path, older: Path | None = None) -> AsyncIterator[Subject]:
    """Start a broker and a subject; yield once a message has passed through.

    Args:
        name: the subject.
        qos: of its subscription.
        folder: everything that they write goes below it.
        older: environment in which the edgerouter of the subject "before" is installed.
    """
    out = folder / "out"
    out.mkdir(parents=True)
    with Mosquitto(folder / "broker", BROKER) as broker:
        port = broker.port
        if name == "floor":
            command = [sys.executable, str(Path(__file__).with_name("floor.py")), str(port), str(out / "messages.jsonl")]
        elif name == "baseline":
            script = Path(__file__).with_name("baseline.py")
            command = [sys.executable, str(script), str(port), str(qos), str(out / "messages.jsonl")]
        else:
            config, protocol = folder / "edgerouter.yaml", "3.1.1" if name == "MQTT 3.1.1" else "auto"
            config.write_text(ROUTER.format(port=port, qos=2 if name == "QoS 2" else qos, protocol=protocol, folder=folder))
            programs = Path(sys.executable).parent if older is None or name != "before" else older / "bin"
            command = [str(programs / "edgerouter"), "run", "-c", str(config)]
        output = Output(out)
        async with process(*command) as running:
            async with load(Plan(port, topics=("sensors/first",), rate=20, qos=1, client_id="first")) as first:
                await output.until(1, timeout=30)
                report = await first.stop()
            # messages sent before the subscription never arrive, the others do within this time
            with suppress(TimeoutError):
                await output.ages(output.lines + report.sent, timeout=0.3)
            yield Subject(running.pid, port, output, folder / "spool" if name == "edgerouter" else None)
