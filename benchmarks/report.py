"""Results as a table for people and as plain data for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from benchmarks.measure import Idle, Latency, Throughput
from benchmarks.subjects import Name


@dataclass(frozen=True, slots=True)
class Row:
    """One value of all subjects; `None` where a subject was not measured."""

    what: str
    qos: int
    digits: int
    values: Mapping[Name, float | None]

    def ratio(self, other: Name) -> float | None:
        """Ratio of edgerouter to another subject."""
        ours, theirs = self.values.get("edgerouter"), self.values.get(other)
        return ours / theirs if ours is not None and theirs else None


@dataclass(frozen=True, slots=True)
class Results:
    """Every run of a benchmark."""

    throughputs: Sequence[Throughput]
    latencies: Sequence[Latency]
    idles: Sequence[Idle]
    variants: Sequence[Latency]
    """Edgerouter as usual, and then in other ways, all at one rate."""

    def rows(self) -> list[Row]:
        """Return the medians of the subjects side by side."""
        rows: list[Row] = []
        for qos in sorted({run.qos for run in self.throughputs}, reverse=True):
            fast = [run for run in self.throughputs if run.qos == qos]
            rows += [Row(what, qos, digits, _medians(fast, read)) for what, digits, read in _THROUGHPUT]
            for rate in sorted({run.rate for run in self.latencies}, reverse=True):
                calm = [run for run in self.latencies if (run.qos, run.rate) == (qos, rate)]
                rows += [
                    Row(f"{what} at {rate:g} messages/s", qos, digits, _medians(calm, read)) for what, digits, read in _LATENCY
                ]
            still = [run for run in self.idles if run.qos == qos]
            rows += [Row(what, qos, digits, _medians(still, read)) for what, digits, read in _IDLE]
        return rows

    def as_content(self) -> dict[str, Any]:
        """Return every run, the medians and the ratios, for JSON."""
        return {
            "rows": [{**asdict(row), "ratios": {name: row.ratio(name) for name in _OTHERS}} for row in self.rows()],
            "throughput": [asdict(run) for run in self.throughputs],
            "latency": [asdict(run) for run in self.latencies],
            "idle": [asdict(run) for run in self.idles],
            "variants": [asdict(run) for run in self.variants],
        }

    def as_markdown(self) -> str:
        """Format a table of the medians."""
        measured = {run.subject for run in self.throughputs}
        others = [name for name in _OTHERS if name in measured]
        names: tuple[Name, ...] = ("edgerouter", *others)
        lines = [
            f"| | QoS | {' | '.join(names)} | {' | '.join(f'to {name}' for name in others)} |",
            f"|---|---|{'---:|' * (len(names) + len(others))}",
        ]
        for row in self.rows():
            values = [_text(row.values.get(name), row.digits) for name in names] + [_text(row.ratio(name), 2) for name in others]
            lines.append(f"| {row.what} | {row.qos} | {' | '.join(values)} |")
        usual = self.variants[0]
        lines += [
            "",
            f"| at {usual.rate:,g} messages/s | CPU, us a message | to QoS 1 of MQTT 5 | p99, ms |",
            "|---|---:|---:|---:|",
        ]
        for run in self.variants:
            name, ratio = "QoS 1 of MQTT 5" if run is usual else run.subject, run.cpu_us_a_message / usual.cpu_us_a_message
            lines.append(f"| {name} | {run.cpu_us_a_message:.1f} | {ratio:.2f} | {run.p99_ms:.0f} |")
        return "\n".join(lines) + "\n"


RunT = TypeVar("RunT", Throughput, Latency, Idle)


def _medians(runs: Sequence[RunT], read: Callable[[RunT], float | None]) -> dict[Name, float | None]:
    values: dict[Name, float | None] = {}
    for name in {run.subject for run in runs}:
        found = [value for run in runs if run.subject == name and (value := read(run)) is not None]
        values[name] = median(found) if found else None
    return values


def _text(value: float | None, digits: int) -> str:
    return "" if value is None else f"{value:,.{digits}f}"


_OTHERS: tuple[Name, ...] = ("before", "floor", "baseline")
_THROUGHPUT: list[tuple[str, int, Callable[[Throughput], float | None]]] = [
    ("throughput, messages/s", 0, lambda run: run.messages_a_second),
    ("CPU, us a message", 1, lambda run: run.cpu_us_a_message),
    ("peak RSS, MB", 0, lambda run: run.peak_rss_bytes / 1e6),
    ("written to disk, bytes a message", 0, lambda run: run.disk_bytes_a_message),
    ("of it the output file", 0, lambda run: run.file_bytes_a_message),
]
_LATENCY: list[tuple[str, int, Callable[[Latency], float | None]]] = [
    ("latency p50, ms,", 1, lambda run: run.p50_ms),
    ("latency p99, ms,", 1, lambda run: run.p99_ms),
    ("CPU, us a message,", 1, lambda run: run.cpu_us_a_message),
    ("CPU, % of a core,", 2, lambda run: run.cpu_us_a_message * run.rate / 1e4),
    ("written to disk, bytes a byte of payload,", 2, lambda run: run.disk_bytes_a_payload_byte),
    ("syncs to disk an hour", 0, lambda run: run.syncs_an_hour),
]
_IDLE: list[tuple[str, int, Callable[[Idle], float | None]]] = [
    ("idle: wake-ups a second", 2, lambda run: run.wakeups_a_second),
    ("idle: CPU, % of a core", 2, lambda run: run.cpu_percent),
    ("idle: RSS, MB", 0, lambda run: run.rss_bytes / 1e6),
]


def environment() -> dict[str, Any]:
    """Describe the machine."""
    model = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "edgerouter": version("edgerouter"),
        "aiomqtt": version("aiomqtt"),
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu": model[0].partition(":")[2].strip() if model else "",
        "cpus": os.cpu_count(),
    }
