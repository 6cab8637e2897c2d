"""A router process with CloudSync's API: the original calls with curl, a crash, and a broker that swallows everything.

Covers: edgerouter_cloudsync.source, edgerouter_cloudsync.sink, docs/how-to/coming-from-cloudsync.md.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shlex
import socket
import statistics
import time
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt
import pytest

from edgerouter_cloudsync.api.openapi import BASE
from support.cloud_block import environment_router
from support.mosquitto import Mosquitto, free_port
from support.router import RouterProcess, router

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/coming-from-cloudsync.md").read_text()
SECONDS = float(os.environ.get("CLOUDSYNC_SECONDS", "3"))
"""Length of the load; the long form takes a minute."""
RATE = 200 if SECONDS > 10 else 50
APPS, LIVE = 20, 4


def commands() -> list[list[str]]:
    """Return the calls of the page, which are those of CloudSync's documentation."""
    (block,) = [each for each in re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL) if each.startswith("curl")]
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]


async def run(command: list[str], port: int) -> Any:
    """Run curl against another port, and return its answer."""
    words = [word.replace(":56001/", f":{port}/") for word in command]
    process = await asyncio.create_subprocess_exec(*words, "--silent", "--fail-with-body", stdout=asyncio.subprocess.PIPE)
    output, _ = await process.communicate()
    assert process.returncode == 0, output
    return json.loads(output)


async def post(session: aiohttp.ClientSession, port: int, call: str, **fields: str) -> tuple[int, Any]:
    async with session.post(f"http://127.0.0.1:{port}{BASE}/{call}", json=fields) as response:
        return response.status, await response.json()


async def test_the_calls_of_the_original_documentation_get_its_answers(broker: Mosquitto, tmp_path: Path) -> None:
    port = free_port()
    listed = json.dumps({"broker.example": {"url": broker.url}})
    variables = {
        "CLOUD_SYNC": "true",
        "EDGEROUTER__SOURCES__CLOUDSYNC__LISTEN": f"0.0.0.0:{port}",
        "EDGEROUTER__SOURCES__CLOUDSYNC__BROKERS": listed,
        "EDGEROUTER__SINKS__CLOUDSYNC__BROKERS": listed,
    }
    publish, subscribe, get, get_first_form = commands()
    async with environment_router(tmp_path / "router", variables) as process:
        await process.start()
        assert await run(subscribe, port) == {"Message": "Successfully subscribed to the topic home"}
        assert await run(get, port) == {"Message": ""}
        answer = await run(publish, port)
        assert answer == {
            "Message": f"Data published successfully to Cloudtcp://127.0.0.1:{broker.port}",
            "ServiceName": "",
            "RemoteTargetInfo": "",
        }
        async with asyncio.timeout(10):
            while await run(get, port) != {"Message": "21.5"}:
                await asyncio.sleep(0.02)
        assert await run(get_first_form, port) == {"Message": "21.5"}
        await process.kill()
        await process.start()
        assert await run(subscribe, port) == {"Message": "Successfully subscribed to the topic home"}
        code, text = await process.answer("check")
        assert code == 0, text


async def test_what_was_answered_as_stored_is_published_after_a_crash(tmp_path: Path) -> None:
    port, broker_port = free_port(), free_port()
    async with router(tmp_path, configuration(port, {"late": f"mqtt://127.0.0.1:{broker_port}"})) as process:
        await process.start()
        async with aiohttp.ClientSession() as session:
            answers = [
                await post(session, port, "publish", appid="a", payload=str(number), topic="home", url="late")
                for number in range(20)
            ]
        assert {status for status, _ in answers} == {202}
        await process.kill()
        with Mosquitto(tmp_path / "late", port=broker_port):
            async with aiomqtt.Client("127.0.0.1", broker_port) as client:
                await client.subscribe("home", qos=1)
                await process.start()
                async with asyncio.timeout(30):
                    got = [int(bytes((await anext(client.messages)).payload)) for _ in range(20)]
        assert got == list(range(20))
        await process.until_delivered()


def configuration(port: int, brokers: Mapping[str, str]) -> dict[str, Any]:
    listed = {name: {"url": url, "connect_timeout": "5s"} for name, url in brokers.items()}
    retry = {"first_delay": "50ms", "max_delay": "500ms"}
    return {
        "sources": {"api": {"type": "cloudsync", "listen": f"127.0.0.1:{port}", "brokers": listed, "max_connections": 5000}},
        "sinks": {
            "brokers": {"type": "cloudsync", "topics": ["$cloudsync/#"], "concurrency": 32, "brokers": listed, "retry": retry}
        },
    }


@contextmanager
def black_hole() -> Iterator[int]:
    """Yield a port whose connections are neither accepted nor refused."""
    with socket.socket() as hole, socket.socket() as first, socket.socket() as second:
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        for each in (first, second):
            each.setblocking(False)
            each.connect_ex(hole.getsockname())
        yield hole.getsockname()[1]


@asynccontextmanager
async def brokers(tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    """Yield brokers that answer, and one that does not."""
    more = [free_port() for _ in range(LIVE - 1)]
    listeners = [f"listener {port} 127.0.0.1" for port in more]
    with Mosquitto(tmp_path / "live", ["log_type error", *listeners]) as live, black_hole() as hole:
        yield {f"live-{port}": f"mqtt://127.0.0.1:{port}" for port in (live.port, *more)} | {"dead": f"mqtt://127.0.0.1:{hole}"}


async def load(port: int, names: list[str]) -> dict[str, list[tuple[float, int]]]:
    """Publish at a rate, whatever the answers take; return seconds and status of each answer by broker."""
    found: dict[str, list[tuple[float, int]]] = defaultdict(list)
    clock = time.perf_counter

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        url = names[number % len(names)]
        started = clock()
        status, _ = await post(
            session, port, "publish", appid=f"app-{number % APPS}", payload=str(number), topic=f"plant/{number % APPS}", url=url
        )
        found[url].append((clock() - started, status))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session, asyncio.TaskGroup() as tasks:
        begin = clock()
        for number in range(int(RATE * SECONDS)):
            await asyncio.sleep(max(0.0, begin + number / RATE - clock()))
            tasks.create_task(one(session, number))
    return found


async def pids_cpu(process: RouterProcess) -> float:
    fields = Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_broker_that_swallows_everything_slows_no_other_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    port = free_port()
    async with brokers(tmp_path) as urls, router(tmp_path, configuration(port, urls)) as process:
        await process.start()
        before = await pids_cpu(process)
        answers = await load(port, list(urls))
        used = await pids_cpu(process) - before
    dead = answers.pop("dead")
    live = [each for found in answers.values() for each in found]
    times = sorted(seconds for seconds, _ in live)
    median, p99 = statistics.median(times), times[int(len(times) * 0.99)]
    delivered = sum(status == 200 for _, status in live) / len(live)
    with capsys.disabled():
        if SECONDS > 10:
            shown = ", ".join(f"{seconds * 1e3:.1f}" for seconds in (median, p99, times[-1]))
            print(f"\n{len(times)} answers of live brokers, {delivered:.1%} delivered; median, p99 and most in ms: {shown}")
            print(f"{used / (RATE * SECONDS) * 1e6:.0f} us of CPU a request")
    assert {status for _, status in dead} == {202}
    # all would wait for the dead broker's 2 s if they shared its worker; a busy machine makes some slow
    assert delivered > 0.95
    assert median < 1
