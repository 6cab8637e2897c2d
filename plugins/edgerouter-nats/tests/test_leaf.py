"""The five processes of `deploy/leaf`: a box keeps everything while the middle is away, and the middle survives a killed router.

Covers: deploy/leaf.
"""

import copy
from pathlib import Path
from typing import Any

import yaml
from nats.js.api import DiscardPolicy, StorageType, StreamConfig

import nats
from support.arrivals import Arrivals, arrivals
from support.load import Plan, load
from support.mosquitto import running
from support.nats.cluster import NatsServer
from support.router import RouterProcess, router

DEPLOY = Path(__file__).parents[3] / "deploy" / "leaf"
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
    """Create what the job `stream` of the compose file creates."""
    client = await nats.connect(server.url)
    stream = StreamConfig(
        name="FLEET", subjects=["fleet.>"], storage=StorageType.FILE, discard=DiscardPolicy.NEW, duplicate_window=600
    )
    await client.jetstream().add_stream(stream)
    await client.close()


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
    server = NatsServer(store / "leaf").start()
    try:
        await make_stream(server)
        with running(tmp_path / "broker", "max_queued_messages 0", "max_inflight_messages 1000", "log_type error") as broker:
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
