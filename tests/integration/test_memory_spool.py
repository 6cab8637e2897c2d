"""The volatile spool: a message is acknowledged once every sink has settled it, so the broker keeps what a crash would lose."""

import asyncio

from aiohttp import web

from support.arrivals import arrivals
from support.http_service import http_service
from support.load import Plan, load
from support.mosquitto import free_port, running
from support.router import router

BROKER = ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")


async def test_a_kill_of_a_router_with_a_volatile_spool_loses_nothing_either(tmp_path):
    answering = asyncio.Event()

    async def take(request):
        await request.read()
        await answering.wait()
        return web.Response()

    port = free_port()
    with running(tmp_path / "broker", *BROKER) as broker:
        async with http_service(take) as url:
            config = {
                "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["sensors/#"], "client_id": "volatile"}},
                "spool": {"type": "memory", "max_messages": 2000, "max_bytes": "16MiB"},
                "sinks": {
                    "files": {"type": "file", "path": str(tmp_path / "files")},
                    "slow": {"type": "http", "url": url, "timeout": "5s", "batch": {"max_messages": 5000, "linger": "10ms"}},
                },
                "admin": {"listen": f"127.0.0.1:{port}"},
                "shutdown": {"grace": "1s"},
            }
            async with router(tmp_path, config) as process:
                process.tcp = port
                await process.start()
                assert "batches cannot fill" in process.tail()
                async with load(Plan(broker.port, messages=10_000)) as publisher:
                    report = await publisher.finish()
                # one sink settles nothing, so nothing is acknowledged and the spool fills
                status = await process.until(lambda status: status["sinks"]["files"]["delivered"] >= 1000)
                assert status["sinks"]["slow"]["pending"] >= 1000
                await process.kill()
                answering.set()
                await process.start()
                await process.until(lambda status: status["sinks"]["slow"]["delivered"] >= 9000)
                await process.until_delivered()
                assert await process.stop() == 0
    found = arrivals(tmp_path / "files")
    assert found.missing_from(report.acknowledged_numbers()) == {}
    assert found.duplicates > 0, "what was not settled everywhere came again"
