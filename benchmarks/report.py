"""Results as a table for people and as plain data for programs."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.measure import Latency, Throughput
from benchmarks.subjects import Name


@dataclass(frozen=True, slots=True)
class Row:
    """One value of both subjects."""

    what: str
    qos: int
    edgerouter: float
    baseline: float
    digits: int

    @property
    def ratio(self) -> float | None:
        """Ratio of edgerouter to the baseline."""
        return self.edgerouter / self.baseline if self.baseline else None


@dataclass(frozen=True, slots=True)
class Results:
    """Every run of a benchmark."""

    throughputs: Sequence[Throughput]
    latencies: Sequence[Latency]

    def rows(self) -> list[Row]:
        """Return the medians of both subjects side by side."""
        rows: list[Row] = []
        for qos in sorted({run.qos for run in self.throughputs}, reverse=True):
            rate = self.latencies[0].rate
            for what, digits, read in _THROUGHPUT:
                rows.append(Row(what, qos, self._fast("edgerouter", qos, read), self._fast("baseline", qos, read), digits))
            for what, digits, read_latency in _LATENCY:
                ours, theirs = (self._calm(name, qos, read_latency) for name in _SUBJECTS)
                rows.append(Row(f"{what} at {rate:g} messages/s", qos, ours, theirs, digits))
        return rows

    def _fast(self, name: Name, qos: int, read: Callable[[Throughput], float]) -> float:
        return median(read(run) for run in self.throughputs if (run.subject, run.qos) == (name, qos))

    def _calm(self, name: Name, qos: int, read: Callable[[Latency], float]) -> float:
        return median(read(run) for run in self.latencies if (run.subject, run.qos) == (name, qos))

    def as_content(self) -> dict[str, Any]:
        """Return every run, the medians and the ratios, for JSON."""
        return {
            "rows": [{**asdict(row), "ratio": row.ratio} for row in self.rows()],
            "throughput": [asdict(run) for run in self.throughputs],
            "latency": [asdict(run) for run in self.latencies],
        }

    def as_markdown(self) -> str:
        """Format a table of the medians."""
        lines = ["| | QoS | edgerouter | baseline | ratio |", "|---|---|---:|---:|---:|"]
        for row in self.rows():
            ratio = "" if row.ratio is None else f"{row.ratio:.2f}"
            numbers = f"{row.edgerouter:,.{row.digits}f} | {row.baseline:,.{row.digits}f}"
            lines.append(f"| {row.what} | {row.qos} | {numbers} | {ratio} |")
        return "\n".join(lines) + "\n"


_SUBJECTS: tuple[Name, Name] = ("edgerouter", "baseline")
_THROUGHPUT: list[tuple[str, int, Callable[[Throughput], float]]] = [
    ("throughput, messages/s", 0, lambda run: run.messages_a_second),
    ("CPU, us a message", 1, lambda run: run.cpu_us_a_message),
    ("peak RSS, MB", 0, lambda run: run.peak_rss_bytes / 1e6),
    ("written to disk, bytes a message", 0, lambda run: run.disk_bytes_a_message),
    ("of it the output file", 0, lambda run: run.file_bytes_a_message),
]
_LATENCY: list[tuple[str, int, Callable[[Latency], float]]] = [
    ("latency p50, ms,", 1, lambda run: run.p50_ms),
    ("latency p99, ms,", 1, lambda run: run.p99_ms),
    ("CPU, us a message,", 1, lambda run: run.cpu_us_a_message),
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
