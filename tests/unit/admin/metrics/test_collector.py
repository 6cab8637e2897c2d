"""A scrape has the metrics of the reference, and its size does not grow with what devices and services send.

Covers also: edgerouter.admin.metrics.tables, docs/reference/metrics.md.
"""

import re
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import msgspec
import pytest

from edgerouter.admin.certificates import CertificateStatus
from edgerouter.admin.metrics import Metrics
from edgerouter.admin.metrics.exposition import write
from edgerouter.admin.status import Drop, RouterStatus, SourceStatus, drops
from edgerouter.config.model import SpoolConfig
from edgerouter.pipeline.silence import SilenceStatus
from edgerouter.pipeline.status import DeliveryStatus
from edgerouter.spool import open_spool
from edgerouter.spool.status import SharedStatus
from edgerouter.telemetry.disk_wear import DiskWear
from edgerouter.telemetry.loop_watch import LoopStatus
from support.status import SINK, SPOOL, router_status

REFERENCE = Path(__file__).parents[4] / "docs" / "reference" / "metrics.md"
SUFFIX = re.compile(r"_(bucket|sum|count|created)$")


class Family(NamedTuple):
    """A metric as a scrape or the reference names it."""

    type: str
    labels: frozenset[str]


def documented() -> dict[str, Family]:
    """Return the metrics of the reference."""
    rows = re.findall(r"^\| `(edgerouter_\w+)` \| (\w+) \| ([\w, ]*)\|", REFERENCE.read_text(), re.MULTILINE)
    return {name: Family(kind, frozenset(labels.replace(",", " ").split())) for name, kind, labels in rows}


def exposed(text: str) -> dict[str, Family]:
    """Return the metrics of a scrape."""
    kinds = dict(re.findall(r"^# TYPE (edgerouter_\w+) (\w+)", text, re.MULTILINE))
    labels: dict[str, set[str]] = {name: set() for name in kinds}
    for name, shown in re.findall(r"^(edgerouter_\w+)(?:\{(.*)\})? ", text, re.MULTILINE):
        family = name if name in kinds else SUFFIX.sub("", name)
        labels[family] |= set(re.findall(r'(\w+)="', shown)) - {"le"}
    return {name: Family(kind, frozenset(labels[name])) for name, kind in kinds.items()}


def busy() -> RouterStatus:
    """Return a status with at least one value for each metric."""
    steps = {"1:filter": {"filtered": 1}}
    certificate = CertificateStatus(owner="sinks.out", field="tls.ca", file="f", expires_at=1.0, days_left=1.0, problem="")
    source = SourceStatus(
        type="mqtt", connected=True, reason="", messages=1, deliveries=1, last_message_at=1.0, reopened=0, steps=steps,
        step_received={"1:filter": 2}, silence=SilenceStatus(expected=2, silent=1),
        oldest_unacknowledged_seconds=0.1, fence_age_seconds=0.1,
    )  # fmt: skip
    return router_status(
        sources={"in": source},
        sinks={"out": msgspec.structs.replace(SINK, steps=steps, step_received={"1:filter": 2}, last_delivery_at=1.0)},
        drops=[Drop(sink="out", topic="t", reason="r", messages=1)],
        certificates=[certificate],
        event_loop=LoopStatus(held_seconds={"sink out": 1.0}),
        disk=DiskWear(written_bytes=1, bytes_a_year=1.0),
        spool=replace(SPOOL, shared=SharedStatus("one", {"one": 3, "two": 2}, {}, lease_seconds=12.5, lost_shards=4)),
    )


def test_the_reference_lists_every_metric_with_its_type_and_labels() -> None:
    text = write(Metrics(busy, lambda: [("out", DeliveryStatus())]).families()).decode()
    assert exposed(text) == documented()


def test_a_shared_spool_shows_its_shards_and_its_lease() -> None:
    lines = set(write(Metrics(busy, list).families()).decode().splitlines())
    shown = {"routers 2.0", "shards 3.0", "lost_shards_total 4.0", "lease_seconds 12.5", "position_age_seconds 0.0"}
    assert {f'edgerouter_spool_{name}{{spool="sqlite"}} {value}' for name, value in map(str.split, shown)} < lines


@pytest.mark.parametrize("character", ["x", "ä", "\U0001f600", "\x01", '"', "\n", "\\"])
async def test_metrics_and_status_stay_under_a_megabyte_whatever_topics_devices_invent(tmp_path: Path, character: str) -> None:
    async with open_spool(SpoolConfig(type="memory", path=tmp_path)) as spool:
        for number in range(3000):
            spool.count_dropped(f"{number}{character * 15_000}/x", 1, "intake_full")
        status = router_status(spool=spool.status, drops=drops(spool))
        assert len(write(Metrics(lambda: status, lambda: ()).families())) < 1_000_000
        assert len(msgspec.json.encode(status)) < 1_000_000
