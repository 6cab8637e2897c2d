"""Publishes the temperature of this host's CPU to an MQTT broker, every 30 seconds."""

from __future__ import annotations

import asyncio
import json
import math
import os
import random
import signal
import ssl
import sys
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote, urlsplit

import aiomqtt

PROCESSORS = ("coretemp", "k10temp", "zenpower", "cpu_thermal", "cpu-thermal", "soc_thermal", "x86_pkg_temp", "cpu", "soc")
"""The kernel's names for sensors of CPUs, most reliable first."""
KEPT = 2880
"""Readings kept while the broker is unreachable: those of a day."""
AGAIN_SECONDS = 5.0
CLOSING_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Reading:
    """One temperature."""

    time: datetime
    celsius: float
    sensor: str
    """Name of the sensor; `simulated` if this host reports none."""

    @property
    def simulated(self) -> bool:
        """True if the temperature is simulated."""
        return self.sensor == "simulated"


@dataclass(frozen=True, slots=True)
class Sensor:
    """A kernel file that holds thousandths of a degree."""

    name: str
    file: Path

    def celsius(self) -> float | None:
        """Return the current temperature; `None` if the sensor reports nothing, as many do in virtual machines."""
        try:
            value = int(self.file.read_text()) / 1000
        except (OSError, ValueError):
            return None
        return value if -60 < value < 150 and value else None


def sensors(sys_class: Path) -> Iterator[Sensor]:
    """Yield every sensor of the host: thermal zones, then those of hwmon."""
    for zone in sorted(sys_class.glob("thermal/thermal_zone*")):
        yield Sensor(_text(zone / "type") or zone.name, zone / "temp")
    for chip in sorted(sys_class.glob("hwmon/hwmon*")):
        for file in sorted(chip.glob("temp*_input")):
            yield Sensor(_text(chip / "name") or chip.name, file)


def _text(file: Path) -> str:
    try:
        return file.read_text().strip()
    except OSError:
        return ""


def processor(sys_class: Path) -> Sensor | None:
    """Return the sensor that most likely belongs to the CPU, of those that report a value."""
    telling = [sensor for sensor in sensors(sys_class) if sensor.celsius() is not None]

    def surely(sensor: Sensor) -> int:
        return next((rank for rank, name in enumerate(PROCESSORS) if sensor.name.lower().startswith(name)), len(PROCESSORS))

    return min(telling, key=surely, default=None)


def read(sensor: Sensor | None) -> Reading:
    """Return the current temperature: real, or simulated and marked so."""
    now = datetime.now(UTC)
    if sensor is not None and (celsius := sensor.celsius()) is not None:
        return Reading(now, celsius, sensor.name)
    return Reading(now, round(random.gauss(48, 2), 2), "simulated")


def as_json(reading: Reading, device: str) -> str:
    """Format the default body."""
    return json.dumps(
        {
            "device": device,
            "time": reading.time.isoformat(timespec="seconds"),
            "celsius": reading.celsius,
            "sensor": reading.sensor,
            "simulated": reading.simulated,
        }
    )


def as_text(reading: Reading, device: str) -> str:
    """Format the line of the cloud block's example; a simulated temperature is marked at its end."""
    label = ", simulated" if reading.simulated else ""
    return f"{device}, {reading.time:%m/%d/%Y %H:%M:%S}, {reading.celsius:.2f}{label}"


def as_influxdb(reading: Reading, device: str) -> str:
    """Format the body that the InfluxDB sink expects."""
    tags = f"device={device}" + (",simulated=true" if reading.simulated else "")
    return json.dumps({"measurement": "cpu_temp", "tags": tags, "values": f"temp={reading.celsius}"})


FORMATS = {"json": as_json, "text": as_text, "influxdb": as_influxdb}


@dataclass(frozen=True, slots=True)
class Settings:
    """Settings from environment variables."""

    host: str
    port: int
    tls: bool
    user: str | None
    password: str | None
    topic: str
    interval: float
    format: str
    device: str
    sys_class: Path

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Settings:
        """Read the variables.

        Raises:
            ValueError: a variable is invalid.
        """

        def first(*names: str, default: str) -> str:
            return next((environ[name].strip() for name in names if environ.get(name, "").strip()), default)

        broker = first("LOCAL_MQTT_HOST", "MQTT_HOST", default="mqtt")
        url = urlsplit(broker if "://" in broker else f"mqtt://{broker}")
        if url.scheme not in ("mqtt", "tcp", "mqtts", "ssl") or not url.hostname:
            raise ValueError("LOCAL_MQTT_HOST should be a host, or a URL such as mqtt://host:1883 or mqtts://user:password@host")
        tls = url.scheme in ("mqtts", "ssl")
        seconds = first("CPU_TEMP_INTERVAL", default="30")
        form = first("CPU_TEMP_FORMAT", default="json")
        try:
            interval = float(seconds)
        except ValueError:
            interval = 0
        if not 0 < interval < math.inf:
            raise ValueError("CPU_TEMP_INTERVAL should be seconds, more than 0")
        if form not in FORMATS:
            raise ValueError(f"CPU_TEMP_FORMAT should be one of {', '.join(FORMATS)}")
        return cls(
            host=url.hostname,
            port=url.port or (8883 if tls else 1883),
            tls=tls,
            user=unquote(url.username) if url.username else None,
            password=unquote(url.password) if url.password else None,
            topic=first("CPU_TEMP_TOPIC", default="cpu_temp"),
            interval=interval,
            format=form,
            device=first("BALENA_DEVICE_UUID", "HOSTNAME", default="0000000")[:7],
            sys_class=Path(first("CPU_TEMP_SYS_CLASS", default="/sys/class")),
        )


async def run(settings: Settings) -> None:
    """Read and publish until cancelled; readings made while the broker is unreachable are published once it is back."""
    sensor = processor(settings.sys_class)
    print(f"sensor: {sensor.name if sensor else 'none, the temperatures are simulated'}", flush=True)
    waiting: deque[str] = deque(maxlen=KEPT)
    news = asyncio.Event()

    def stopping() -> bool:
        # a client that is cancelled while it loses its connection reports only the loss
        task = asyncio.current_task()
        return task is not None and task.cancelling() > 0

    async def sample() -> None:
        while True:
            waiting.append(FORMATS[settings.format](read(sensor), settings.device))
            news.set()
            await asyncio.sleep(settings.interval)

    async def send() -> None:
        while True:
            try:
                async with aiomqtt.Client(
                    settings.host,
                    settings.port,
                    username=settings.user,
                    password=settings.password,
                    tls_context=ssl.create_default_context() if settings.tls else None,
                ) as client:
                    while True:
                        await news.wait()
                        while waiting:
                            # QoS 1: returns once the broker has the message
                            body = waiting[0]
                            await client.publish(settings.topic, body, qos=1)
                            print(f"{settings.topic}: {body}", flush=True)
                            if waiting and waiting[0] is body:
                                waiting.popleft()
                        news.clear()
            except aiomqtt.MqttError as error:
                if stopping():
                    return
                print(f"{settings.host}:{settings.port}: {error}; {len(waiting)} readings wait", file=sys.stderr, flush=True)
                await asyncio.sleep(AGAIN_SECONDS)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(sample(), name="sample")
        tasks.create_task(send(), name="send")


async def until_stopped(settings: Settings) -> None:
    """Run until SIGTERM or Ctrl-C."""
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    running = asyncio.create_task(run(settings), name="run")
    stopping = asyncio.create_task(stop.wait(), name="stop")
    await asyncio.wait({running, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        running.result()
    running.cancel()
    # a client may wait for ever for the broker to close the connection
    await asyncio.wait({running}, timeout=CLOSING_SECONDS)


def main() -> None:
    """Read the settings from the environment and run."""
    try:
        settings = Settings.of(os.environ)
    except ValueError as error:
        sys.exit(str(error))
    asyncio.run(until_stopped(settings))


if __name__ == "__main__":
    main()
