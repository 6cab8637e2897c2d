"""One sample of a machine's figures. The names are those of the message, and their endings are the units."""

from __future__ import annotations

import msgspec


class Cpu(msgspec.Struct, frozen=True, kw_only=True):
    """Processors, as shares of the time since the sample before."""

    count: int
    """Logical processors."""
    used_percent: float
    """All but idle and iowait."""
    user_percent: float
    nice_percent: float
    system_percent: float
    idle_percent: float
    iowait_percent: float
    irq_percent: float
    """Interrupts, hard and soft."""
    steal_percent: float
    guest_percent: float
    """Also contained in user and nice."""


class Load(msgspec.Struct, frozen=True, kw_only=True):
    """Load averages of the last 1, 5 and 15 minutes."""

    load_1m: float
    load_5m: float
    load_15m: float


class Memory(msgspec.Struct, frozen=True, kw_only=True):
    """Memory of the machine."""

    total_bytes: int
    used_bytes: int
    available_bytes: int
    free_bytes: int
    cached_bytes: int
    used_percent: float
    """All but what is available."""


class Swap(msgspec.Struct, frozen=True, kw_only=True):
    """Swap space; all zero where there is none."""

    total_bytes: int
    used_bytes: int
    used_percent: float


class Disk(msgspec.Struct, frozen=True, kw_only=True):
    """A mounted file system."""

    mount: str
    total_bytes: int
    used_bytes: int
    free_bytes: int
    """Free for users without privileges."""
    used_percent: float


class Interface(msgspec.Struct, frozen=True, kw_only=True):
    """A network interface: counters since the machine started."""

    interface: str
    received_bytes: int
    sent_bytes: int
    received_packets: int
    sent_packets: int
    receive_errors: int
    send_errors: int
    receive_drops: int
    send_drops: int


class Temperature(msgspec.Struct, frozen=True, kw_only=True):
    """A temperature sensor."""

    sensor: str
    """Name of the chip or zone, such as `cpu_thermal`."""
    label: str
    """Name of the place, where the chip has several."""
    celsius: float


class Sample(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything that was sampled at one time; a group that was not is missing."""

    time: str
    """UTC, as in `2026-05-04T03:02:01.123Z`."""
    host: str
    uptime_seconds: int
    cpu: Cpu | None = None
    load: Load | None = None
    memory: Memory | None = None
    swap: Swap | None = None
    disks: tuple[Disk, ...] | None = None
    network: tuple[Interface, ...] | None = None
    temperatures: tuple[Temperature, ...] | None = None
    above: tuple[str, ...] = ()
    """Levels that are at or above their threshold."""

    def levels(self) -> dict[str, float]:
        """Return the figures that thresholds and changes refer to; parts of one kind are kept apart by `:name`."""
        found: dict[str, float] = {}
        if self.cpu is not None:
            found["cpu_percent"] = self.cpu.used_percent
        if self.memory is not None:
            found["memory_percent"] = self.memory.used_percent
        if self.swap is not None:
            found["swap_percent"] = self.swap.used_percent
        if self.load is not None:
            found["load"] = self.load.load_1m
        for disk in self.disks or ():
            found[f"disk_percent:{disk.mount}"] = disk.used_percent
        for each in self.temperatures or ():
            found[f"celsius:{each.sensor}{'/' if each.label else ''}{each.label}"] = each.celsius
        return found
