"""Samples a machine's figures with psutil. Everything here blocks: not for the event loop."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import psutil

from edgerouter.sources.host_metrics.config import HostMetricsConfig
from edgerouter.sources.host_metrics.sample import Cpu, Disk, Interface, Load, Memory, Sample, Swap, Temperature

_MOST_PARTS: Final = 64
"""Disks, interfaces and sensors of a sample each; container hosts have thousands of virtual interfaces."""
HARDWARE = Path("/sys/class/net")
"""Folder of interfaces, of which those of hardware have a member `device`."""


class Sampler:
    """Takes samples; shares of processor time are those since the sample before.

    Args:
        config: of the source.
        host: the device's name.

    Raises:
        OSError: the kernel's figures cannot be read.
    """

    def __init__(self, config: HostMetricsConfig, host: str) -> None:
        psutil.PROCFS_PATH = str(config.proc)
        self._config = config
        self._host = host
        self._times = psutil.cpu_times()

    def sample(self) -> Sample:
        """Take a sample."""
        groups = self._config.metrics
        now = datetime.now(UTC)
        return Sample(
            time=now.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            host=self._host,
            uptime_seconds=max(0, int(time.time() - psutil.boot_time())),
            cpu=self._cpu() if "cpu" in groups else None,
            load=_load() if "load" in groups else None,
            memory=_memory() if "memory" in groups else None,
            swap=_swap() if "swap" in groups else None,
            disks=_disks(self._config.disks) if "disk" in groups else None,
            network=_network(self._config.interfaces) if "network" in groups else None,
            temperatures=_temperatures() if "temperature" in groups else None,
        )

    def _cpu(self) -> Cpu:
        before, self._times = self._times, psutil.cpu_times()
        spent = {
            # counters of a processor may step back
            name: max(0.0, float(getattr(self._times, name) - getattr(before, name, 0.0)))
            for name in self._times._fields
        }
        guest = spent.pop("guest", 0.0) + spent.pop("guest_nice", 0.0)  # the kernel counts them in user and nice, too
        whole = sum(spent.values()) or 1.0

        def percent(*names: str) -> float:
            return round(sum([spent.get(name, 0.0) for name in names]) * 100 / whole, 2)

        idle, iowait = percent("idle"), percent("iowait")
        return Cpu(
            count=psutil.cpu_count() or 1,
            used_percent=round(max(0.0, 100 * (sum(spent.values()) > 0) - idle - iowait), 2),
            user_percent=percent("user"),
            nice_percent=percent("nice"),
            system_percent=percent("system"),
            idle_percent=idle,
            iowait_percent=iowait,
            irq_percent=percent("irq", "softirq"),
            steal_percent=percent("steal"),
            guest_percent=round(guest * 100 / whole, 2),
        )


def _load() -> Load:
    one, five, fifteen = os.getloadavg()
    return Load(load_1m=round(one, 2), load_5m=round(five, 2), load_15m=round(fifteen, 2))


def _memory() -> Memory:
    found = psutil.virtual_memory()
    return Memory(
        total_bytes=found.total,
        used_bytes=found.used,
        available_bytes=found.available,
        free_bytes=found.free,
        cached_bytes=getattr(found, "cached", 0),
        used_percent=found.percent,
    )


def _swap() -> Swap:
    found = psutil.swap_memory()
    return Swap(total_bytes=found.total, used_bytes=found.used, used_percent=found.percent)


def _disks(mounts: Sequence[str]) -> tuple[Disk, ...]:
    disks = []
    for mount in mounts or _local_mounts():
        with suppress(OSError):  # gone, or not for this user
            if mounts and not _is_mounted(mount):
                continue  # the folder is there, and its figures would be those of the disk around it
            found = psutil.disk_usage(mount)
            disks.append(
                Disk(mount=mount, total_bytes=found.total, used_bytes=found.used, free_bytes=found.free, used_percent=found.percent)
            )
    return tuple(disks)


def _is_mounted(mount: str) -> bool:
    """Return True for a mount point, or a link to one, at which something is mounted now."""
    place = os.path.realpath(mount)
    # a bind mount within one file system shows in the table of mounts alone
    return os.path.ismount(place) or any(partition.mountpoint == place for partition in psutil.disk_partitions(all=True))


def _local_mounts() -> list[str]:
    devices: dict[str, str] = {}
    for partition in psutil.disk_partitions(all=False):
        devices.setdefault(partition.device, partition.mountpoint)  # containers mount one device in many places
    return list(devices.values())[:_MOST_PARTS]


def _network(names: Sequence[str]) -> tuple[Interface, ...]:
    counters = psutil.net_io_counters(pernic=True)
    wanted = [name for name in names if name in counters] if names else sorted(name for name in counters if name != "lo")
    if len(wanted) > _MOST_PARTS and not names:
        # hundreds of veth1a2b3c would leave no place for wlan0
        wanted.sort(key=lambda name: not (HARDWARE / name / "device").exists())
    return tuple(_interface(name, counters[name]) for name in wanted[:_MOST_PARTS])


def _interface(name: str, found: Any) -> Interface:
    return Interface(
        interface=name,
        received_bytes=found.bytes_recv,
        sent_bytes=found.bytes_sent,
        received_packets=found.packets_recv,
        sent_packets=found.packets_sent,
        receive_errors=found.errin,
        send_errors=found.errout,
        receive_drops=found.dropin,
        send_drops=found.dropout,
    )


def _temperatures() -> tuple[Temperature, ...]:
    read = getattr(psutil, "sensors_temperatures", None)  # macOS and Windows have none
    found = [] if read is None else [(chip, each) for chip, several in sorted(read().items()) for each in several]
    return tuple(
        Temperature(sensor=chip, label=each.label, celsius=round(each.current, 1))
        for chip, each in found[:_MOST_PARTS]
        if each.current is not None
    )
