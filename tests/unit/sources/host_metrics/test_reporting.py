"""Only the samples that the configuration asks for are published."""

from typing import Any

import msgspec

from edgerouter.sources.host_metrics.config import HostMetricsConfig
from edgerouter.sources.host_metrics.reporting import Reporting
from edgerouter.sources.host_metrics.sample import Disk, Memory, Sample, Temperature


def sample(memory: float, *, disk: float = 10.0, celsius: float | None = None) -> Sample:
    return Sample(
        time="2026-05-04T03:02:01.123Z",
        host="h",
        uptime_seconds=1,
        memory=Memory(total_bytes=1, used_bytes=1, available_bytes=1, free_bytes=1, cached_bytes=1, used_percent=memory),
        disks=(Disk(mount="/", total_bytes=1, used_bytes=1, free_bytes=1, used_percent=disk),),
        temperatures=() if celsius is None else (Temperature(sensor="cpu", label="core 0", celsius=celsius),),
    )


class Samples:
    """Feeds samples, ten seconds apart."""

    def __init__(self, **config: Any) -> None:
        self.reporting = Reporting(HostMetricsConfig.model_validate(config))
        self.now = 1000.0

    def published(self, each: Sample) -> bool:
        self.now += 10
        return self.reporting.due(msgspec.structs.replace(each, above=self.reporting.above(each)), self.now)


def test_without_a_rule_every_sample_is_published() -> None:
    samples = Samples()
    assert [samples.published(sample(50)) for _ in range(3)] == [True] * 3


def test_with_on_change_only_a_level_that_moved_since_the_last_message_is_published() -> None:
    """Slow drift adds up until it counts."""
    samples = Samples(report="on_change", change=2)
    levels = [50.0, 51.0, 51.9, 52.0, 52.0, 49.0]
    assert [samples.published(sample(level)) for level in levels] == [True, False, False, True, False, True]
    assert samples.published(sample(49, disk=13))
    assert samples.published(sample(49, disk=13, celsius=40)), "a sensor is new"


def test_with_above_a_sample_is_published_while_a_level_is_high_and_once_after_it() -> None:
    samples = Samples(report="above", thresholds={"memory_percent": 80, "celsius": 70})
    seen = [samples.published(sample(level)) for level in (50.0, 80.0, 90.0, 79.9, 50.0)]
    assert seen == [False, True, True, True, False]
    assert samples.published(sample(50, celsius=71))


def test_the_message_names_the_levels_that_are_high() -> None:
    samples = Samples(thresholds={"disk_percent": 90, "celsius": 70})
    assert samples.reporting.above(sample(99, disk=95, celsius=70)) == ("disk_percent:/", "celsius:cpu/core 0")


def test_a_heartbeat_is_published_however_little_changes() -> None:
    samples = Samples(report="on_change", heartbeat="25s")
    assert [samples.published(sample(50)) for _ in range(5)] == [True, False, False, True, False]
    quiet = Samples(report="above", thresholds={"memory_percent": 80}, heartbeat="25s")
    assert [quiet.published(sample(50)) for _ in range(5)] == [True, False, False, True, False]
