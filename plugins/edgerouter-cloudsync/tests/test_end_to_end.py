"""A router process with CloudSync's API: the original calls with curl, a crash, and a broker that swallows everything.

Covers: edgerouter_cloudsync.source, edgerouter_cloudsync.sink, docs/how-to/coming-from-cloudsync.md.
"""

from __future__ import annotations

import asyncio
import json
import re
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import aiohttp
import aiomqtt

from edgerouter_cloudsync.api.openapi import BASE
from support.chaos import unanswered
from support.cloud_block import environment_router
from support.mosquitto import Mosquitto, free_port
from support.router import router

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/how-to/coming-from-cloudsync.md").read_text()
APPS, LIVE, ROUNDS = 20, 4, 10


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


def configuration(
    port: int, brokers: Mapping[str, str], *, connect_timeout: str = "5s", answer_within: str = "2s", timeout: str = "60s"
) -> dict[str, Any]:
    listed = {name: {"url": url, "connect_timeout": connect_timeout} for name, url in brokers.items()}
    source = {"type": "cloudsync", "listen": f"127.0.0.1:{port}", "brokers": listed, "answer_within": answer_within}
    sink = {"type": "cloudsync", "topics": ["$cloudsync/#"], "concurrency": 32, "brokers": listed, "timeout": timeout}
    retry = {"first_delay": "50ms", "max_delay": "500ms"}
    return {"sources": {"api": source}, "sinks": {"brokers": {**sink, "retry": retry}}}


@contextmanager
def brokers(tmp_path: Path) -> Iterator[dict[str, str]]:
    """Yield brokers that answer, and one that does not."""
    more = [free_port() for _ in range(LIVE - 1)]
    listeners = [f"listener {port} 127.0.0.1" for port in more]
    with Mosquitto(tmp_path / "live", ["log_type error", *listeners]) as live, unanswered() as hole:
        yield {f"live-{port}": f"mqtt://127.0.0.1:{port}" for port in (live.port, *more)} | {"dead": f"mqtt://127.0.0.1:{hole}"}


async def test_a_broker_that_swallows_everything_holds_up_no_other(tmp_path: Path) -> None:
    """All requests for live brokers get a 200 before any for the dead one is answered; `make bench-cloudsync` measures times."""
    port = free_port()
    with brokers(tmp_path) as urls:
        # the dead broker's worker is busy beyond the end of the test, and no answer is given before the sink has said something
        config = configuration(port, urls, connect_timeout="300s", answer_within="60s", timeout="300s")
        async with router(tmp_path, config) as process, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
            await process.start()

            def publish(number: int, url: str) -> asyncio.Task[tuple[int, Any]]:
                fields = {"appid": f"app-{number}", "payload": str(number), "topic": f"plant/{number}", "url": url}
                return asyncio.create_task(post(session, port, "publish", **fields), name=f"publish {number} to {url}")

            dead: list[asyncio.Task[tuple[int, Any]]] = []
            live: list[tuple[int, Any]] = []
            for _ in range(ROUNDS):
                requests = [publish(app, url) for app in range(APPS // len(urls)) for url in urls if url != "dead"]
                dead += [publish(app, "dead") for app in range(APPS // len(urls))]
                live += await asyncio.gather(*requests)
            assert {status for status, _ in live} == {200}
            assert not any(each.done() for each in dead)
            for each in dead:
                each.cancel()
