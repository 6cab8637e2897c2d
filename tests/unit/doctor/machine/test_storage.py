"""The disks of the spool and of the sinks are measured, and what a spool should not be on is named.

Covers also: edgerouter.doctor.machine.block_device, edgerouter.doctor.machine.mounts.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgerouter import plugins
from edgerouter.config.model import RouterConfig
from edgerouter.doctor.machine import storage
from edgerouter.doctor.machine.block_device import describe
from edgerouter.doctor.machine.mounts import KINDS, mount_of


def configured(folder: Path, **spool: Any) -> RouterConfig:
    """Load a configuration whose spool and file sink are below one folder."""
    file = folder / "edgerouter.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "sources": {"local": {"type": "mqtt", "url": "mqtt://127.0.0.1", "topics": ["#"]}},
                "sinks": {"files": {"type": "file", "path": str(folder / "files")}},
                "spool": {"path": str(folder / "spool")} | spool,
            }
        )
    )
    return plugins.load(file, {})


async def test_an_fsync_of_the_spool_is_timed_and_nothing_is_left(tmp_path: Path) -> None:
    found = {each.name: each for each in await storage.examine(configured(tmp_path))}

    assert "of 50 writes" in found["spool.path: fsync"].evidence
    assert found["spool.path: room"].verdict == "ok"
    assert not any(name.startswith("sinks.files") for name in found), "it is on the same disk"
    assert [each.name for each in tmp_path.iterdir()] == ["edgerouter.yaml"], "no folder was made"


async def test_a_spool_larger_than_its_disk_is_a_warning(tmp_path: Path) -> None:
    found = {each.name: each for each in await storage.examine(configured(tmp_path, max_bytes="900TiB"))}

    assert found["spool.path: room"].verdict == "warn"


async def test_a_folder_that_cannot_be_written_is_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> object:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)

    assert any(each.verdict == "fail" for each in await storage.examine(configured(tmp_path)))


async def test_a_memory_spool_needs_no_disk(tmp_path: Path) -> None:
    found = await storage.examine(configured(tmp_path, type="memory"))

    assert not [each for each in found if each.name.startswith("spool")]


def test_the_innermost_mount_holds_a_folder(tmp_path: Path) -> None:
    inner = tmp_path / "with blank"
    inner.mkdir()
    mountinfo = tmp_path / "mountinfo"
    place = str(inner).replace(" ", r"\040")
    mountinfo.write_text(
        "1 0 8:1 / / rw - ext4 /dev/sda1 rw\nbroken\n"
        f"2 1 0:5 / {place} rw shared:1 - tmpfs tmpfs rw\n3 1 0:6 / /elsewhere rw - nfs4 server:/ rw\n"
    )

    mount = mount_of(inner, mountinfo)

    assert mount is not None
    assert mount.kind == "tmpfs"
    assert KINDS[mount.kind].volatile
    assert mount_of(tmp_path, mountinfo) != mount
    assert mount_of(tmp_path, tmp_path / "none") is None


def device(sys: Path, number: str, kind: str, **files: str) -> int:
    """Add a block device with a partition to the kernel's view; returns the partition's number."""
    disk = sys / "devices" / f"disk{number}"
    (disk / "queue").mkdir(parents=True)
    (disk / "device").mkdir()
    (disk / "part").mkdir()
    for name, text in {"type": kind, **files}.items():
        (disk / "device" / name).write_text(text + "\n")
    (sys / "dev" / "block").mkdir(parents=True, exist_ok=True)
    (sys / "dev" / "block" / f"{number}:1").symlink_to(disk / "part")
    return os.makedev(int(number), 1)


def test_an_sd_card_and_the_wear_of_emmc_are_named(tmp_path: Path) -> None:
    card = describe(device(tmp_path, "179", "SD", name="SC16G"), tmp_path)
    worn = describe(device(tmp_path, "180", "MMC", life_time="0x02 0x09", pre_eol_info="0x01"), tmp_path)

    assert card is not None
    assert "an SD card" in card.text
    assert card.wear.percent is None
    assert worn is not None
    assert worn.wear.percent == 90
    assert describe(os.makedev(1, 1), tmp_path) is None
