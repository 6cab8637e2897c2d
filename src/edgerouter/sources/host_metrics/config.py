"""The host-metrics source's configuration."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import Field, model_validator

from edgerouter.extras import install_command
from edgerouter.receiving.topic import TopicTemplate
from edgerouter.section import Section
from edgerouter.source import SourceConfig
from edgerouter.units import Duration

Group = Literal["cpu", "load", "memory", "swap", "disk", "network", "temperature"]
GROUPS: tuple[Group, ...] = ("cpu", "load", "memory", "swap", "disk", "network", "temperature")


class ThresholdsConfig(Section):
    """Levels from which a figure counts as high; without a number it never does."""

    cpu_percent: float | None = Field(default=None, ge=0, le=100, examples=[90])
    """Busy time of all processors together."""
    memory_percent: float | None = Field(default=None, ge=0, le=100, examples=[90])
    """Memory in use."""
    swap_percent: float | None = Field(default=None, ge=0, le=100, examples=[50])
    """Swap space in use."""
    disk_percent: float | None = Field(default=None, ge=0, le=100, examples=[90])
    """Space in use of any of the disks."""
    celsius: float | None = Field(default=None, examples=[80])
    """Temperature of any of the sensors."""
    load: float | None = Field(default=None, ge=0, examples=[4])
    """Load average of the last minute."""


class HostMetricsConfig(SourceConfig):
    """Publishes figures of the machine: processors, memory, disks, network, temperatures. It needs the extra `host`."""

    interval: Duration = Field(default=30.0, ge=0.1)
    """Time from one sample to the next."""
    topic: TopicTemplate = Field(default="hosts/{host}/metrics", examples=["plant/boxes/{host}"])
    """Topic of the messages, with `{host}` (the device's name) and `{source}` (the source's name)."""
    format: Literal["edgerouter", "synpse"] = "edgerouter"
    """Form of the message: that of edgerouter, or names and form of Synpse's example application."""
    metrics: tuple[Group, ...] = Field(default=GROUPS, min_length=1, examples=[["cpu", "memory", "disk"]])
    """Groups to sample. The form of Synpse has `cpu` and `memory` only."""
    disks: tuple[str, ...] = Field(default=(), examples=[["/", "/data"]])
    """Mount points; by default those of all local disks."""
    interfaces: tuple[str, ...] = Field(default=(), examples=[["eth0"]])
    """Network interfaces; by default all but the loopback."""
    report: Literal["always", "on_change", "above"] = "always"
    """Samples to publish: all; those with a level that has changed by `change` since the last one published; or those with a level
    at or above its threshold, and the first one below all of them again."""
    change: float = Field(default=1.0, gt=0)
    """With `on_change`: least difference of a level, in percentage points, degrees or units of load."""
    heartbeat: Duration | None = Field(default=None, examples=["10m"])
    """With `on_change` and `above`: publish after this time in any case."""
    thresholds: ThresholdsConfig = ThresholdsConfig()
    """Levels from which a figure counts as high. The message lists those that are, whatever `report` says."""
    proc: Path = Field(default=Path("/proc"), examples=["/host/proc"])
    """Folder of the kernel's figures; in a container, the place at which the host's `/proc` is mounted."""

    @model_validator(mode="after")
    def _usable(self) -> Self:
        if find_spec("psutil") is None:
            raise ValueError(f"psutil is not installed: {install_command('host')} brings it")
        if self.report == "above" and not self.thresholds.model_dump(exclude_none=True):
            raise ValueError("`report: above` needs `thresholds`")
        return self
