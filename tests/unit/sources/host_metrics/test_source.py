"""Each sample of the machine's figures is a message, taken in a thread and only while the router stores.

Covers also: edgerouter.sources.host_metrics.config, edgerouter.sources.host_metrics.sample,
edgerouter.sources.host_metrics.sampler, edgerouter.sources.host_metrics.forms.
"""

import json
import re
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Any

import psutil
import pytest
from pydantic import ValidationError

from edgerouter import Message, SourceContext, Unavailable
from edgerouter.extras import install_command
from edgerouter.sources.host_metrics import sampler
from edgerouter.sources.host_metrics.config import HostMetricsConfig
from edgerouter.sources.host_metrics.sampler import Sampler
from edgerouter.sources.host_metrics.source import HostMetricsSource
from edgerouter.testing import never_holds_the_loop
from edgerouter.testing.config_promises import undocumented

STAT = "cpu  {user} 0 {system} {idle} 0 0 0 0 0 0\ncpu0 {user} 0 {system} {idle} 0 0 0 0 0 0\nbtime 1700000000\n"
MEMINFO = """\
MemTotal: 1000 kB
MemFree: 100 kB
MemAvailable: 400 kB
Buffers: 50 kB
Cached: 250 kB
Active: 0 kB
Inactive: 0 kB
Shmem: 0 kB
Slab: 0 kB
SwapTotal: 200 kB
SwapFree: 150 kB
"""


def config(**fields: Any) -> HostMetricsConfig:
    return HostMetricsConfig.model_validate({"interval": "100ms", **fields})


@asynccontextmanager
async def opened(settings: HostMetricsConfig, **context: Any) -> AsyncIterator[HostMetricsSource]:
    given = SourceContext("figures", "edge-1", "s", lambda: None, lambda *_: None, lambda *_: None, **context)
    async with HostMetricsSource.open(settings, given) as source:
        yield source


async def first(settings: HostMetricsConfig, count: int = 1) -> list[Message]:
    """Return the first messages of a source."""
    found: list[Message] = []
    async with opened(settings) as source, aclosing(source.deliveries()) as deliveries:  # type: ignore[type-var]
        async for delivery in deliveries:
            found += delivery.messages
            delivery.acknowledge()
            if len(found) >= count:
                source.stop()
    return found


@pytest.fixture
def proc(tmp_path: Path) -> Iterator[Path]:
    """A machine with one processor and one megabyte of memory."""
    (tmp_path / "stat").write_text(STAT.format(user=1000, system=1000, idle=1000))
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "vmstat").write_text("pswpin 0\npswpout 0\n")
    yield tmp_path
    psutil.PROCFS_PATH = "/proc"


async def test_a_sample_of_this_machine_holds_every_group_with_units_in_the_names() -> None:
    (message,) = await first(config())
    sample = json.loads(message.payload)
    assert message.topic == "hosts/edge-1/metrics"
    assert message.properties is not None
    assert message.properties.content_type == "application/json"
    assert sample["host"] == "edge-1"
    assert sample["uptime_seconds"] > 0
    assert sample["time"].endswith("Z")
    assert 0 <= sample["cpu"]["used_percent"] <= 100
    assert sample["memory"]["total_bytes"] == psutil.virtual_memory().total
    assert sample["load"].keys() == {"load_1m", "load_5m", "load_15m"}
    assert sample["swap"]["total_bytes"] == psutil.swap_memory().total
    assert {"disks", "network", "temperatures"} <= sample.keys()
    assert all(each["interface"] != "lo" for each in sample["network"])
    assert "above" not in sample


async def test_samples_come_at_the_interval_until_the_source_is_stopped() -> None:
    found = await first(config(metrics=["load"]), 3)
    times = [json.loads(message.payload)["time"] for message in found]
    assert sorted(set(times)) == times
    assert len(times) == 3


async def test_the_form_of_synpse_has_its_names_and_no_others() -> None:
    (message,) = await first(config(format="synpse", topic="metrics"))
    content = json.loads(message.payload)
    assert list(content) == ["id", "timestamp", "projectId", "deviceId", "metrics", "labels"]
    assert (content["id"], content["projectId"], content["deviceId"], content["labels"]) == ("", "", "edge-1", None)
    assert set(content["metrics"]) == {
        "agent_mem_total", "agent_mem_used", "agent_mem_cached", "agent_mem_free", "agent_cpu_count",
        "agent_cpu_user_percentage", "agent_cpu_nice_percentage", "agent_cpu_system_percentage", "agent_cpu_idle_percentage",
        "agent_cpu_iowait_percentage", "agent_cpu_irq_percentage", "agent_cpu_steal_percentage", "agent_cpu_guest_percentage",
    }  # fmt: skip
    assert all(isinstance(value, float) for value in content["metrics"].values())
    assert message.topic == "metrics"


def test_shares_of_processor_time_are_those_since_the_sample_before(proc: Path) -> None:
    sampler = Sampler(config(metrics=["cpu"], proc=str(proc)), "edge-1")
    (proc / "stat").write_text(STAT.format(user=1030, system=1010, idle=1060))
    cpu = sampler.sample().cpu
    assert cpu is not None
    assert (cpu.user_percent, cpu.system_percent, cpu.idle_percent, cpu.used_percent) == (30.0, 10.0, 60.0, 40.0)
    still = sampler.sample().cpu
    assert still is not None
    assert (still.used_percent, still.idle_percent) == (0.0, 0.0)


def test_figures_are_those_of_the_folder_that_the_configuration_names(proc: Path) -> None:
    sample = Sampler(config(metrics=["memory", "swap"], proc=str(proc)), "edge-1").sample()
    assert sample.memory is not None
    assert (sample.memory.total_bytes, sample.memory.used_percent) == (1_024_000, 60.0)
    assert sample.swap is not None
    assert (sample.swap.total_bytes, sample.swap.used_bytes, sample.swap.used_percent) == (204_800, 51_200, 25.0)
    assert sample.cpu is None


def test_named_disks_and_interfaces_are_sampled_and_missing_ones_left_out() -> None:
    settings = config(metrics=["disk", "network"], disks=["/", "/not/there"], interfaces=["lo", "none0"])
    sample = Sampler(settings, "edge-1").sample()
    assert [disk.mount for disk in sample.disks or ()] == ["/"]
    assert [each.interface for each in sample.network or ()] == ["lo"]


def test_a_disk_that_is_not_mounted_any_more_does_not_have_the_figures_of_the_one_around_it(proc: Path, tmp_path: Path) -> None:
    """Its folder stays, and what is measured there is the disk of the system: an alarm for a full disk would never come."""
    data, link = tmp_path / "data", tmp_path / "link"
    data.mkdir()
    link.symlink_to(data)
    (proc / "self").mkdir()
    mounts = proc / "self/mounts"
    sampling = Sampler(config(proc=proc, metrics=["disk"], disks=["/", str(data), str(link)]), "edge-1")
    mounts.write_text(f"/dev/sda1 / ext4 rw 0 0\n/dev/sda1 {data} ext4 rw 0 0\n")
    assert [disk.mount for disk in sampling.sample().disks or ()] == ["/", str(data), str(link)]
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    assert [disk.mount for disk in sampling.sample().disks or ()] == ["/"]


def test_interfaces_of_hardware_come_before_hundreds_of_virtual_ones(
    proc: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Interfaces are at most 64, by name: those of containers took the places of all behind them."""
    names = [*(f"veth{number:04}" for number in range(700)), "eth0", "wlan0"]
    (proc / "net").mkdir()
    lines = "".join(f"{name}: 1 1 0 0 0 0 0 0 1 1 0 0 0 0 0 0\n" for name in names)
    (proc / "net/dev").write_text(f"Inter-|\n face |\n{lines}")
    for name in ("eth0", "wlan0"):
        (tmp_path / "sys" / name / "device").mkdir(parents=True)
    monkeypatch.setattr(sampler, "HARDWARE", tmp_path / "sys")
    network = Sampler(config(proc=proc, metrics=["network"]), "edge-1").sample().network
    assert network is not None
    assert [each.interface for each in network[:3]] == ["eth0", "wlan0", "veth0000"]
    assert len(network) == 64


async def test_figures_that_cannot_be_read_are_reported(tmp_path: Path) -> None:
    try:
        with pytest.raises(Unavailable, match="cannot be read"):
            await first(config(proc=str(tmp_path / "none")))
    finally:
        psutil.PROCFS_PATH = "/proc"


async def test_a_look_reports_that_the_source_can_sample_and_takes_none() -> None:
    told: list[bool] = []
    context = SourceContext("f", "h", "s", lambda: None, lambda *_: None, lambda yes, _: told.append(yes), probe=True)
    async with HostMetricsSource.open(config(), context) as source:
        source.stop()
        assert [delivery async for delivery in source.deliveries()] == []
    assert told == [True]


async def test_the_event_loop_is_never_held_up() -> None:
    async def life() -> None:
        await first(config(), 3)

    await never_holds_the_loop(life, "sampling")


async def test_a_host_name_that_is_not_a_topic_level_is_made_one() -> None:
    context = SourceContext("figures", "edge+1#", "s", lambda: None, lambda *_: None, lambda *_: None)
    async with HostMetricsSource.open(config(metrics=["load"]), context) as source:
        delivery = await anext(aiter(source.deliveries()))
    assert delivery.messages[0].topic == "hosts/edge_1_/metrics"


def test_a_missing_psutil_names_the_extra_that_brings_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psutil", None)
    with pytest.raises(ValidationError, match=re.escape(install_command("host"))):
        config()


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"report": "above"}, "needs `thresholds`"),
        ({"interval": 0}, "greater than or equal to 0.1"),
        ({"metrics": []}, "at least 1"),
        ({"metrics": ["cpus"]}, "'cpu'"),
        ({"topic": "a/{level}"}, "unknown placeholder"),
        ({"thresholds": {"cpu_percent": 101}}, "less than or equal to 100"),
    ],
)
def test_what_cannot_be_used_says_why(fields: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError) as refused:
        config(**fields)
    assert words in str(refused.value)


def test_every_field_is_documented() -> None:
    assert list(undocumented(HostMetricsConfig)) == []
