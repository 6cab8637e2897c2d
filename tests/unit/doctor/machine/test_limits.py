"""The limits of the router's process are compared with the bounds of the configuration.

Covers also: edgerouter.doctor.machine.process.
"""

from __future__ import annotations

import os
from pathlib import Path

import yaml

from edgerouter import plugins
from edgerouter.admin.listen import unix_listener
from edgerouter.config.model import RouterConfig
from edgerouter.doctor.machine import limits
from edgerouter.doctor.machine.process import Measured, measured


def configured(folder: Path) -> RouterConfig:
    file = folder / "edgerouter.yaml"
    source = {"type": "mqtt", "url": "mqtt://127.0.0.1", "topics": ["#"]}
    file.write_text(yaml.safe_dump({"sources": {"local": source}, "sinks": {"out": {"type": "stdout"}}}))
    return plugins.load(file, {})


def process(folder: Path, cgroup: str = "0::/box/router\n", files: str = "1024                 4096") -> Measured:
    """Return a process with these files of the kernel."""
    (folder / "cgroup").write_text(cgroup)
    (folder / "limits").write_text(f"Limit     Soft Limit   Hard Limit  Units\nMax open files            {files}     files\n")
    return Measured("the running router", folder)


def group(folder: Path, **files: str) -> Path:
    """Return a mount of control groups with one that has these files."""
    (folder / "groups" / "box" / "router").mkdir(parents=True)
    for name, text in files.items():
        (folder / "groups" / "box" / name.replace("_", ".", 1)).write_text(text + "\n")
    return folder / "groups"


def test_bounds_beyond_the_memory_of_the_control_group_are_a_warning(tmp_path: Path) -> None:
    groups = group(tmp_path, memory_max="134217728", memory_events="low 0\noom_kill 3")

    limit, killed = limits.memory(configured(tmp_path), process(tmp_path), groups)

    assert limit.verdict == "warn"
    assert "128 MiB usable by the running router" in limit.evidence
    assert killed.verdict == "warn"
    assert "ended 3 processes" in killed.evidence


def test_enough_memory_is_good(tmp_path: Path) -> None:
    [limit] = limits.memory(configured(tmp_path), process(tmp_path), tmp_path)

    assert limit.verdict == "ok"


def test_a_small_quota_of_processor_time_is_a_warning(tmp_path: Path) -> None:
    groups = group(tmp_path, cpu_max="10000 100000", cpu_stat="nr_throttled 17")

    [quota] = limits.cpu(process(tmp_path), groups)

    assert quota.verdict == "warn"
    assert quota.evidence.startswith("0.10 of ")
    assert "throttled 17 times" in quota.evidence


def test_a_quota_of_older_control_groups_counts(tmp_path: Path) -> None:
    folder = tmp_path / "groups" / "cpu" / "box"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("200000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")

    [quota] = limits.cpu(process(tmp_path, "4:cpu,cpuacct:/box\n"), tmp_path / "groups")

    assert quota.verdict == "ok"
    assert quota.evidence.startswith("2.00 of ")


def test_few_file_descriptors_are_a_warning(tmp_path: Path) -> None:
    [few] = limits.files(configured(tmp_path), process(tmp_path, files="64 128"))
    [enough] = limits.files(None, process(tmp_path))

    assert few.verdict == "warn"
    assert "LimitNOFILE" in few.change
    assert enough.verdict == "ok"


def test_the_limits_of_the_running_router_count(tmp_path: Path) -> None:
    """This process stands for the router: it listens on the socket of the spool's folder."""
    alone = measured(tmp_path)
    listener = unix_listener(tmp_path)
    with listener:
        beside = measured(tmp_path)

    assert "no router runs" in alone.name
    assert beside.name == f"the running router (process {os.getpid()})"
