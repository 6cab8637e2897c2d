"""Targets of the router's cost, each beside what one run has measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from statistics import median

from benchmarks.report import Results
from benchmarks.sinks import Row as SinkRow
from benchmarks.start import Start


@dataclass(frozen=True, slots=True)
class Target:
    """A bound and a figure."""

    what: str
    bound: float
    measured: float
    least: bool = False
    """The bound is the least that is wanted, not the most."""

    @property
    def met(self) -> bool:
        """True if the figure is within the bound."""
        return self.measured >= self.bound if self.least else self.measured <= self.bound


def of_walk(results: Results) -> Iterator[Target]:
    """Yield the targets of the walk at QoS 1 of which there are figures."""
    rows = {row.what: row for row in results.rows() if row.qos == 1}
    for name, bound, what, least in _WALK:
        if (row := rows.get(name)) is not None and (value := row.values.get("edgerouter")) is not None:
            yield Target(what, bound, value, least)
    cpu = rows.get("CPU, us a message")
    if cpu is not None and (ratio := cpu.ratio("floor")) is not None:
        yield Target("full load: CPU, compared with the floor", 1.2, ratio)
    usual, *others = results.variants
    for run in others:
        what = f"{run.subject}: CPU, compared with QoS 1 of MQTT 5, at {run.rate:,g} messages/s"
        yield Target(what, 1.3, run.cpu_us_a_message / usual.cpu_us_a_message)


def of_starts(alone: Sequence[Start], clouds: Sequence[Start]) -> Iterator[Target]:
    """Yield the targets of a router with `mqtt` and `file` alone, and with all six cloud sinks."""
    yield Target("start to the first acknowledgement, ms", 400, median([run.seconds["PUBACK"] for run in alone]) * 1e3)
    yield Target("RSS with `mqtt` and `file`, MB", 60, median([run.rss_bytes for run in alone]) / 1e6)
    yield Target("RSS with the six cloud sinks, MB", 110, median([run.rss_bytes for run in clouds]) / 1e6)


def of_sinks(rows: Iterable[SinkRow]) -> Iterator[Target]:
    """Yield the targets of the cloud sinks."""
    for row in rows:
        if row.sink in _SINKS:
            yield Target(f"{row.sink}: CPU, us a message", _SINKS[row.sink], row.cpu_us_a_message)


def as_markdown(targets: Iterable[Target]) -> str:
    """Format a table; a missed target is in bold."""
    lines = ["| | target | measured |", "|---|---:|---:|"]
    for target in targets:
        digits = 0 if target.measured >= 100 else 1 if target.measured >= 10 else 2
        value = f"{target.measured:,.{digits}f}"
        sign = "at least" if target.least else "at most"
        lines.append(f"| {target.what} | {sign} {target.bound:,g} | {value if target.met else f'**{value}**'} |")
    return "\n".join(lines) + "\n"


_WALK = (
    ("throughput, messages/s", 70_000, "full load: messages/s", True),
    ("CPU, % of a core, at 1000 messages/s", 2, "1,000 messages/s: CPU, % of a core", False),
    ("CPU, % of a core, at 100 messages/s", 1, "100 messages/s: CPU, % of a core", False),
    ("CPU, % of a core, at 10 messages/s", 0.3, "10 messages/s: CPU, % of a core", False),
    ("idle: wake-ups a second", 2, "no messages: wake-ups a second", False),
    ("latency p99, ms, at 1000 messages/s", 30, "1,000 messages/s: p99 from publish to file, ms", False),
    (
        "written to disk, bytes a byte of payload, at 1000 messages/s",
        1.5,
        "1,000 messages/s: bytes written a byte of payload",
        False,
    ),
)
_SINKS = {"aws-sqs, standard queue": 35, "azure-event-hubs, batches of 1000": 5}
