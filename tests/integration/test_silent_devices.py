"""A device that stops is seen in `/flowz`, in the status and by an operator, and no longer once it is back."""

from __future__ import annotations

from pathlib import Path

import aiohttp
import pytest

from support.command import edgerouter
from support.mosquitto import free_port
from support.router import router


async def test_a_device_that_stops_is_seen_and_no_longer_once_it_is_back(tmp_path: Path) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}/topics/plant/temp"
    config = {
        "sources": {"in": {"type": "http", "listen": f"127.0.0.1:{port}", "expect": {"plant/+": "1s"}}},
        "sinks": {"out": {"type": "file", "path": str(tmp_path / "out.jsonl")}},
    }
    async with router(tmp_path, config) as process:
        await process.start()
        async with aiohttp.request("POST", url, data="1") as response:
            assert response.status == 202
        status = await process.until(lambda status: status["sources"]["in"]["silence"]["silent"] == 1)
        assert [each["topic"] for each in status["sources"]["in"]["silence"]["topics"]] == ["plant/temp"]
        with pytest.raises(aiohttp.ClientError, match="503"):
            await process.get("/flowz")
        assert "plant/temp is silent for" in await edgerouter("status", "--spool", process.spool)
        async with aiohttp.request("POST", url, data="2") as response:
            assert response.status == 202
        await process.until(lambda status: status["sources"]["in"]["silence"]["silent"] == 0)
        await process.stop()
        assert (process.spool / "sources" / "in" / "expected").read_bytes() == b'["plant/temp"]'
