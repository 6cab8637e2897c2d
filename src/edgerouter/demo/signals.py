"""Readings of the demo's devices: random walks of simulated sensors, and the CPU temperature of this machine if it reports one."""

from __future__ import annotations

import random
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from pathlib import Path

THERMAL_ZONES = Path("/sys/class/thermal")


class Signal(ABC):
    """One quantity over time.

    Attributes:
        kind: the last level of the topic.
    """

    kind: str

    @abstractmethod
    def read(self) -> tuple[Mapping[str, object], str]:
        """The next reading, and an alert if there is cause for one (else empty)."""


class Walk(Signal):
    """A value that wanders around a middle, with an alert when it is too high."""

    def __init__(self, kind: str, unit: str, middle: float, step: float, alert_above: float) -> None:
        self.kind = kind
        self._unit = unit
        self._middle = middle
        self._step = step
        self._alert_above = alert_above
        self._value = middle
        self._alerted = False

    def read(self) -> tuple[Mapping[str, object], str]:
        self._value += random.gauss(0, self._step) + (self._middle - self._value) * 0.1
        too_high = self._value > self._alert_above
        alert = f"{self.kind} above {self._alert_above:g} {self._unit}" if too_high and not self._alerted else ""
        self._alerted = too_high
        return {"value": round(self._value, 2), "unit": self._unit}, alert


class Door(Signal):
    """Open or closed, with an alert when it stays open."""

    kind = "door"

    def __init__(self) -> None:
        self._open = False
        self._readings = 0

    def read(self) -> tuple[Mapping[str, object], str]:
        self._readings += 1
        if random.random() < 0.1:  # noqa: S311  (not a secret)
            self._open, self._readings = not self._open, 0
        alert = "door stays open" if self._open and self._readings == 15 else ""
        return {"open": self._open}, alert


class CpuTemperature(Signal):
    """Temperature of the CPU: real if the system reports it, otherwise simulated and marked so."""

    kind = "cpu_temp"

    def __init__(self, zones: Path = THERMAL_ZONES) -> None:
        self._sensor = next(iter(sorted(_readable(zones))), None)
        self._instead = Walk(self.kind, "°C", 48, 0.6, 85)

    @property
    def simulated(self) -> bool:
        """True if this machine reports no temperature."""
        return self._sensor is None

    def read(self) -> tuple[Mapping[str, object], str]:
        if self._sensor is not None and (value := _celsius(self._sensor)) is not None:
            return {"value": value, "unit": "°C", "simulated": False}, ""
        reading, alert = self._instead.read()
        return {**reading, "simulated": True}, alert


def _readable(zones: Path) -> Iterator[Path]:
    """Sensors that give a number now; virtual machines often have none, or some that fail to read."""
    return (path for path in zones.glob("thermal_zone*/temp") if _celsius(path) is not None)


def _celsius(sensor: Path) -> float | None:
    try:
        return int(sensor.read_text()) / 1000
    except (OSError, ValueError):
        return None


def signals(count: int) -> list[tuple[str, Signal]]:
    """So many devices, by name; the first one is this machine's processor."""
    devices: list[tuple[str, Signal]] = [("gateway", CpuTemperature())]
    kinds = (
        lambda: Walk("temperature", "°C", 21, 0.4, 22.5),
        lambda: Walk("humidity", "%", 45, 2, 53),
        lambda: Walk("vibration", "mm/s", 2.8, 0.25, 3.8),
        Door,
    )
    for number in range(count - 1):
        signal = kinds[number % len(kinds)]()
        devices.append((f"{signal.kind}-{number // len(kinds) + 1:02}", signal))
    return devices
