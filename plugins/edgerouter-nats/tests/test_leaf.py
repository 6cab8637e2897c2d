"""The five processes of `deploy/leaf`: a box keeps everything while the middle is away, and the middle survives a killed router.

Covers: deploy/leaf.
"""

import copy
import itertools
import re
import shlex
from pathlib import Path
from typing import Any

import yaml
from nats.js.api import DiscardPolicy, RetentionPolicy, StorageType, StreamConfig

import nats
from edgerouter.units import parse_byte_size, parse_duration
from support.arrivals import Arrivals, arrivals
from support.load import Plan, load
from support.mosquitto import running
from support.nats.cluster import NatsServer
from support.router import RouterProcess, router

DEPLOY = Path(__file__).parents[3] / "deploy" / "leaf"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
PREFIX = "fleet/box-1/"


def box(folder: Path, broker: str, server: NatsServer) -> dict[str, Any]:
    """The box's configuration, with the addresses of this machine."""
    config: dict[str, Any] = yaml.safe_load((DEPLOY / "leaf.yaml").read_text())
    config["sources"]["devices"]["url"] = broker
    config["spool"]["path"] = str(folder / "spool")
    config["sinks"]["central"]["servers"] = [server.url]
    config["sinks"]["central"]["retry"] = {"max_delay": "500ms"}
    return config


def middle(folder: Path, name: str, server: NatsServer) -> dict[str, Any]:
    """The configuration of a router in the middle."""
    config: dict[str, Any] = copy.deepcopy(yaml.safe_load((DEPLOY / "central.yaml").read_text()))
    config["sources"]["fleet"]["servers"] = config["spool"]["servers"] = [server.url]
    config["spool"] |= {
        "path": str(folder / "spool"), "monitor": [f"http://127.0.0.1:{server.monitor_port}"], "router": name, "lease": "2s",
    }  # fmt: skip
    config["sources"]["fleet"]["ack_wait"] = "2s"
    config["sinks"]["archive"]["path"] = str(folder / "files")
    return config


async def make_stream(server: NatsServer) -> None:
    """Create what the job `stream` of the compose file creates, which the tool `nats` does there."""
    command = shlex.split(COMPOSE["stream"]["command"])
    name = command[command.index("add") + 1]
    options = dict(itertools.pairwise(command))
    client = await nats.connect(server.url)
    stream = StreamConfig(
        name=name,
        subjects=[options["--subjects"]],
        storage=StorageType(options["--storage"]),
        retention=RetentionPolicy(options["--retention"]),
        discard=DiscardPolicy(options["--discard"]),
        max_bytes=parse_byte_size(options["--max-bytes"]),
        max_age=parse_duration(options["--max-age"]),
        duplicate_window=parse_duration(options["--dupe-window"]),
    )
    await client.jetstream().add_stream(stream)
    await client.close()


def brokers_settings() -> list[str]:
    """Return the lines of the broker's configuration that name no address and no folder."""
    lines = (DEPLOY.parent / "mosquitto.conf").read_text().splitlines()
    elsewhere = ("#", "listener ", "allow_anonymous ", "persistence ", "persistence_location ", "log_dest ")
    return [line for line in lines if line and not line.startswith(elsewhere)]


def jetstream_setting() -> str:
    """Return the line of the server's configuration without which the routers do not start."""
    (setting,) = re.findall(r"(?m)^jetstream \{ store_dir: /data, (.*) \}$", (DEPLOY / "nats.conf").read_text())
    return str(setting)


def together(routers: list[RouterProcess]) -> Arrivals:
    """Return what the archives of both routers hold."""
    found = Arrivals()
    for each in routers:
        here = arrivals(each.folder / "files")
        found.ids += here.ids
        for topic, numbers in here.numbers.items():
            found.numbers.setdefault(topic, type(numbers)()).update(numbers)
    return found


async def test_nothing_is_lost_between_a_device_and_the_archive_in_the_middle(tmp_path: Path, store: Path) -> None:
    for name in ("leaf", "central-1", "central-2"):
        (tmp_path / name).mkdir()
    server = NatsServer(store / "leaf", jetstream=[jetstream_setting()]).start()
    try:
        await make_stream(server)
        with running(tmp_path / "broker", *brokers_settings(), "log_type error") as broker:
            async with (
                router(tmp_path / "leaf", box(tmp_path / "leaf", broker.url, server)) as leaf,
                router(tmp_path / "central-1", middle(tmp_path / "central-1", "central-1", server)) as first,
                router(tmp_path / "central-2", middle(tmp_path / "central-2", "central-2", server)) as second,
            ):
                await leaf.start()
                await first.start()
                await second.start()
                async with load(Plan(broker.port, rate=1000)) as publisher:
                    await publisher.at_least(300)
                    server.stop()  # the link of the box is down
                    await publisher.at_least(publisher.acknowledged + 500)
                    server.start()
                    await first.kill()
                    await publisher.at_least(publisher.acknowledged + 300)
                    report = await publisher.stop()
                await leaf.until_delivered()
                expected = {PREFIX + topic: numbers for topic, numbers in report.acknowledged_numbers().items()}
                await first.start()
                await second.until(lambda _: together([first, second]).missing_from(expected) == {}, 60)
    finally:
        server.stop()
