"""The CPU temperature example and the broker's configuration for deployments, on a real broker."""

import asyncio
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import aiomqtt
import pytest

from support.mosquitto import Mosquitto, configured, free_port, running

ROOT = Path(__file__).resolve().parents[2]
PROGRAM = ROOT / "examples/cputemp/cputemp.py"


@pytest.fixture
def host(tmp_path: Path) -> Path:
    """A host whose kernel reports a battery, a CPU and an unreadable sensor."""
    for number, (name, value) in enumerate([("battery", "31000"), ("x86_pkg_temp", "47250"), ("iwlwifi", "")]):
        zone = tmp_path / f"class/thermal/thermal_zone{number}"
        zone.mkdir(parents=True)
        (zone / "type").write_text(f"{name}\n")
        (zone / "temp").write_text(f"{value}\n")
    return tmp_path / "class"


@asynccontextmanager
async def device(port: int, sys_class: Path, **variables: str) -> AsyncIterator[asyncio.subprocess.Process]:
    environment = {
        **{name: value for name, value in os.environ.items() if "MQTT" not in name and "TEMP" not in name},
        "LOCAL_MQTT_HOST": f"mqtt://127.0.0.1:{port}",
        "BALENA_DEVICE_UUID": "bc8b1b0d7e1f",
        "CPU_TEMP_SYS_CLASS": str(sys_class),
        "CPU_TEMP_INTERVAL": "0.05",
        **variables,
    }
    process = await asyncio.create_subprocess_exec(sys.executable, PROGRAM, env=environment)
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


async def bodies(port: int, count: int, topic: str = "cpu_temp") -> list[str]:
    found = []
    async with asyncio.timeout(30), aiomqtt.Client("127.0.0.1", port) as client:
        await client.subscribe(topic, qos=1)
        async for message in client.messages:
            found.append(message.payload.decode())
            if len(found) == count:
                return found
    raise AssertionError


async def test_it_publishes_the_processors_temperature_again_and_again(tmp_path: Path, host: Path) -> None:
    with running(tmp_path / "broker") as broker:
        async with device(broker.port, host) as process:
            readings = [json.loads(body) for body in await bodies(broker.port, 3)]
            process.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(process.wait(), 20) == 0
    for reading in readings:
        assert reading["celsius"] == 47.25
        assert (reading["sensor"], reading["simulated"], reading["device"]) == ("x86_pkg_temp", False, "bc8b1b0")


async def test_hwmon_is_read_where_there_are_no_thermal_zones(tmp_path: Path) -> None:
    chip = tmp_path / "class/hwmon/hwmon2"
    chip.mkdir(parents=True)
    (chip / "name").write_text("k10temp\n")
    (chip / "temp1_input").write_text("51500\n")
    with running(tmp_path / "broker") as broker:
        async with device(broker.port, tmp_path / "class"):
            (body,) = await bodies(broker.port, 1)
    assert (json.loads(body)["celsius"], json.loads(body)["sensor"]) == (51.5, "k10temp")


@pytest.mark.parametrize("form", ["json", "text", "influxdb"])
async def test_a_temperature_that_is_made_up_says_so_in_every_form(tmp_path: Path, form: str) -> None:
    with running(tmp_path / "broker") as broker:
        async with device(broker.port, tmp_path / "nothing", CPU_TEMP_FORMAT=form):
            (body,) = await bodies(broker.port, 1)
    assert "simulated" in body


async def test_the_text_form_is_the_line_that_users_of_the_cloud_block_know(tmp_path: Path, host: Path) -> None:
    with running(tmp_path / "broker") as broker:
        async with device(broker.port, host, CPU_TEMP_FORMAT="text", CPU_TEMP_TOPIC="elsewhere"):
            (body,) = await bodies(broker.port, 1, "elsewhere")
    assert re.fullmatch(r"bc8b1b0, \d\d/\d\d/\d{4} \d\d:\d\d:\d\d, 47\.25", body)


async def test_it_waits_for_a_broker_that_is_not_there_yet_and_loses_no_reading(tmp_path: Path, host: Path) -> None:
    broker = Mosquitto(tmp_path / "broker", port=free_port())
    async with device(broker.port, host, CPU_TEMP_FORMAT="text") as process:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(process.wait(), 1)
        with broker:
            assert await bodies(broker.port, 2)


@pytest.mark.parametrize(
    ("name", "value"), [("LOCAL_MQTT_HOST", "http://broker"), ("CPU_TEMP_INTERVAL", "often"), ("CPU_TEMP_FORMAT", "xml")]
)
def test_a_wrong_variable_is_reported_without_a_traceback(name: str, value: str) -> None:
    done = subprocess.run(
        [sys.executable, PROGRAM], env={**os.environ, name: value}, capture_output=True, text=True, timeout=30, check=False
    )
    assert done.returncode == 1
    assert name in done.stderr
    assert "Traceback" not in done.stderr


async def test_the_brokers_configuration_queues_for_a_router_that_is_away_and_survives_its_own_restart(tmp_path: Path) -> None:
    """Uses the deployed file, except for the port and the folder."""
    text = (ROOT / "deploy/mosquitto.conf").read_text()
    port = free_port()
    text = text.replace("listener 1883", f"listener {port} 127.0.0.1").replace("/mosquitto/data/", f"{tmp_path}/")
    session = partial(aiomqtt.Client, "127.0.0.1", port, identifier="router", clean_session=False)
    async with asyncio.timeout(60):
        async with configured(tmp_path, text, port):
            async with session() as router:
                await router.subscribe("cpu_temp", qos=1)
            async with aiomqtt.Client("127.0.0.1", port) as publisher:
                for number in range(1500):
                    await publisher.publish("cpu_temp", str(number), qos=1)
        async with configured(tmp_path, text, port), session() as router:
            found = []
            async for message in router.messages:
                found.append(int(message.payload))
                if len(found) == 1500:
                    break
    assert found == list(range(1500))
