"""The wear of a disk is a number where the disk reports one, and else a reason."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgerouter.doctor.machine import wear
from edgerouter.doctor.machine.wear import Wear


def disk(folder: Path, name: str, **files: str) -> Path:
    """Add a disk to the kernel's view of devices."""
    made = folder / name
    (made / "queue").mkdir(parents=True)
    (made / "device").mkdir()
    for file, text in files.items():
        (made / "device" / file).write_text(text + "\n")
    return made


@pytest.mark.parametrize(
    ("files", "percent"),
    [
        ({"life_time": "0x02 0x09", "pre_eol_info": "0x01"}, 90),
        ({"life_time": "0x0b 0x01", "pre_eol_info": "0x01"}, 100),
        ({"life_time": "0x00 0x00", "pre_eol_info": "0x03"}, 80),
        ({"life_time": "0x00 0x00", "pre_eol_info": "0x01"}, None),
        ({}, None),
    ],
)
def test_emmc_reports_to_the_kernel(files: dict[str, str], percent: int | None, tmp_path: Path) -> None:
    found = wear.read(disk(tmp_path, "mmcblk0", type="MMC", **files))

    assert found.percent == percent
    assert bool(found.reason) == (percent is None)


def test_a_disk_without_a_report_has_a_reason(tmp_path: Path) -> None:
    assert "SD card" in wear.read(disk(tmp_path, "mmcblk0", type="SD")).reason
    assert "virtual disk" in wear.read(disk(tmp_path, "vda")).reason


def test_the_worst_disk_below_a_volume_counts(tmp_path: Path) -> None:
    volume = disk(tmp_path, "dm-0")
    (volume / "slaves").mkdir()
    for name in ("sda", "sdb", "sdc"):
        (disk(tmp_path, name) / f"{name}1").mkdir()
        (volume / "slaves" / f"{name}1").symlink_to(tmp_path / name / f"{name}1")
    asked: dict[str, Wear] = {"sda": Wear(10), "sdb": Wear(None, "none"), "sdc": Wear(40)}

    assert wear.read(volume, asked.__getitem__) == Wear(40)


@pytest.mark.parametrize(
    ("answer", "percent"),
    [
        ({"nvme_smart_health_information_log": {"percentage_used": 7}}, 7),
        ({"nvme_smart_health_information_log": {"percentage_used": 255}}, 100),
        ({"endurance_used": {"current_percent": 3}, "ata_smart_attributes": {"table": []}}, 3),
        ({"ata_smart_attributes": {"table": [{"id": 9, "value": 1}, {"id": 177, "value": 91}]}}, 9),
        ({"ata_smart_attributes": {"table": [{"id": 177, "value": 91}, {"id": 231, "value": 60}, 7]}}, 40),
        ({"smartctl": {"messages": [{"string": "Smartctl open device: /dev/sda failed: Permission denied"}]}}, None),
        ({"ata_smart_attributes": {"table": "x"}, "smartctl": {"messages": "x"}}, None),
        ([], None),
    ],
)
def test_an_answer_of_smartctl_is_read_whatever_it_holds(answer: Any, percent: int | None) -> None:
    found = wear.of_smart(json.loads(json.dumps(answer)))

    assert found.percent == percent
    assert bool(found.reason) == (percent is None)
