"""The environment of a cloud block container works unchanged with edgerouter, and messages arrive byte for byte.

Covers: edgerouter.cli.config, edgerouter_aws.variables, edgerouter_azure.variables, edgerouter_gcp.variables.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from support import cloud_block
from support.azure.azurite import Azurite
from support.cloud_block import Service, environment_router, influxdb_variables, publish
from support.google.identity import Identity
from support.influxdb import InfluxDbServer
from support.mosquitto import Mosquitto

PAYLOADS = [b"61.2", b'{"temp": 61.2}', "größe".encode(), bytes(range(256)), b"\xff\xfe\x00", b" \n"]
ROWS = ["sqs", "s3", "event_hubs", "blob", "pubsub", "storage"]


async def open_service(name: str, stack: AsyncExitStack, request: pytest.FixtureRequest) -> Service:
    needs: dict[str, list[Azurite | Identity]] = {
        "blob": [request.getfixturevalue("azurite")] if name == "blob" else [],
        "pubsub": [request.getfixturevalue("identity")] if name == "pubsub" else [],
        "storage": [request.getfixturevalue("identity")] if name == "storage" else [],
    }
    return await stack.enter_async_context(getattr(cloud_block, name)(*needs.get(name, [])))


@pytest.fixture
async def services(request: pytest.FixtureRequest, identity: Identity) -> AsyncIterator[list[Service]]:
    """Start the services named by the test."""
    async with AsyncExitStack() as stack:
        yield [await open_service(name, stack, request) for name in request.param]


async def until_arrived(service: Service, payloads: list[bytes]) -> None:
    received: list[bytes] = []
    try:
        async with asyncio.timeout(30):
            while sorted(received) != sorted(payloads):
                received = [message.payload for message in await service.receive()]
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{service.sink} has {sorted(received)}") from None


@pytest.mark.parametrize("services", [[name] for name in ROWS] + [ROWS], ids=[*ROWS, "all at once"], indirect=True)
async def test_what_is_published_to_the_default_topic_arrives_byte_for_byte(
    services: list[Service], broker: Mosquitto, tmp_path: Path
) -> None:
    variables = {name: value for service in services for name, value in {**service.variables, **service.tuning}.items()}
    secrets = [secret for service in services for secret in service.secrets]
    async with environment_router(tmp_path / "router", variables, {"MQTT_HOST": broker.url, "CLOUD_BLOCK_DEBUG": "1"}) as router:
        await router.start()
        await publish(broker.port, PAYLOADS)
        for service in services:
            await until_arrived(service, PAYLOADS)
        status = await router.status()
        assert sorted(status["sinks"]) == sorted(service.sink for service in services)
        printed = [json.dumps(status), *[(await router.answer(*command))[1] for command in (["check"], ["config", "--effective"])]]
        assert await router.stop() == 0
    printed.append(router.tail(10**9))
    for text in printed:
        assert not any(secret in text for secret in secrets), "a secret was printed"


async def test_influxdb_takes_the_cloud_blocks_body(broker: Mosquitto, tmp_path: Path) -> None:
    async with InfluxDbServer().running() as server:
        variables = {**influxdb_variables(server), "LOCAL_MQTT_HOST": f"127.0.0.1:{broker.port}", "RELAY_OUT_TOPIC": "relay/out"}
        async with environment_router(tmp_path / "router", variables) as router:
            await router.start()
            bodies = [{"measurement": "cpu_temp", "tags": "room=lab", "values": f"temp={number}"} for number in range(50)]
            await publish(broker.port, [json.dumps(body).encode() for body in bodies], topic="relay/out")
            status = await router.until(lambda status: status["sinks"]["influxdb"]["delivered"] == 50)
            assert await router.stop() == 0
        assert status["sinks"]["influxdb"]["dead_lettered"] == 0
        assert {(point.measurement, point.tags) for point in server.points.values()} == {("cpu_temp", (("room", "lab"),))}
        assert sorted(point.fields["temp"] for point in server.points.values()) == list(range(50))


@pytest.mark.parametrize("services", [["sqs"]], indirect=True)
async def test_a_partial_set_is_one_line_and_check_ends_with_2_while_the_others_run(
    services: list[Service], broker: Mosquitto, tmp_path: Path
) -> None:
    (service,) = services
    partial = {"AWS_S3_BUCKET": "b", "AWS_S3_SECRET_KEY": "geheim"}
    everything = ({**service.variables, **service.tuning}, partial, {"MQTT_HOST": broker.url})
    async with environment_router(tmp_path / "router", *everything) as router:
        code, said = await router.answer("check")
        line = "sink aws-s3 is off: AWS_S3_BUCKET and AWS_S3_SECRET_KEY are set, AWS_S3_REGION and AWS_S3_ACCESS_KEY are missing"
        assert (code, said.count(line)) == (2, 1)
        await router.start()
        await publish(broker.port, [b"61.2"])
        await until_arrived(service, [b"61.2"])
        assert list((await router.status())["sinks"]) == ["aws-sqs"]
        await router.stop()
    assert router.tail(10**9).count(line) == 1
    assert "geheim" not in router.tail(10**9) + said
