"""The source passes the suite of every source, and looks without taking the port."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import aiohttp
import pytest
from pydantic import ValidationError

from edgerouter.testing import SourceConformance
from edgerouter_cloudsync.api.openapi import BASE
from edgerouter_cloudsync.source import CloudSyncSource, CloudSyncSourceConfig
from support.cloudsync import plant
from support.mosquitto import Mosquitto, free_port


class TestCloudSyncSource(SourceConformance):
    source_class = CloudSyncSource
    unsupported: ClassVar[Mapping[str, str]] = {
        "acknowledged": "a request is answered with what its broker said, also before the commit's acknowledgement",
        "memory": "each request waits for its commit, and max_connections bounds them",
    }

    @pytest.fixture
    def port(self) -> int:
        return free_port()

    @pytest.fixture
    def config(self, port: int) -> Mapping[str, Any]:
        return {"listen": f"127.0.0.1:{port}", "answer_within": 0.2}

    @pytest.fixture
    def send(self, port: int) -> Any:
        async def post(payloads: Sequence[bytes]) -> None:
            async with aiohttp.ClientSession() as session:
                for payload in payloads:
                    fields = {"appid": "a", "url": "broker.example", "topic": "t", "payload": payload.decode()}
                    async with session.post(f"http://127.0.0.1:{port}{BASE}/publish", json=fields) as response:
                        assert response.status in (202, 503)

        return post


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"allow": ["10.0.0.0/8"]}, "`allow` needs `brokers`"),
        ({"allow": ["10.0.0.1/8"], "brokers": {}}, "has host bits set"),
        ({"tls_key": "/none"}, "`tls_key` needs `tls_cert`"),
        ({"tls_cert": "/none"}, "no such file: /none"),
        ({"listen": "56001"}, "listen"),
    ],
)
def test_a_wrong_field_is_named_with_its_cure(fields: Mapping[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError, match=reason):
        CloudSyncSourceConfig.model_validate(fields)


async def test_a_stopping_source_takes_nothing_more() -> None:
    from support.cloudsync import plant

    async with plant(brokers={"a": None}) as running:
        running.source.stop()
        status, answer = await running.publish("a")
        assert status == 503
        assert "the router stops" in answer["Message"]
        await asyncio.sleep(0)


async def test_the_commit_does_not_wait_for_others_when_every_caller_waits(broker: Mosquitto, listed: Mapping[str, Any]) -> None:
    """A caller that sends one request after another would else get one answer for each commit interval."""
    async with plant(**listed) as running:
        assert (await running.publish("broker.example"))[0] == 200
        assert len(running.flushes) == 1
        reader, writer = await asyncio.open_connection("127.0.0.1", running.source.port)
        writer.write(f"GET {BASE}/health HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        await reader.readuntil(b"\r\n\r\n")
        assert (await running.publish("broker.example"))[0] == 200
        assert len(running.flushes) == 1, "the other caller may send a request that the same commit takes along"
        writer.close()
