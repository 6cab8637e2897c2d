"""Measure the CPU time a message of each step, in one process, without a broker or a spool."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Final

from edgerouter import plugins
from edgerouter.config.model import ConfiguredStep
from edgerouter.message import Message
from edgerouter.pipeline.shaping.chain import Chain, StepNames
from edgerouter.pipeline.shaping.documents import Documents

AT_ONCE: Final = 200
"""Messages of one read."""
ROUNDS: Final = 5

Steps = list[dict[str, Any]]
_FIELDS: Final[Steps] = [
    {"type": "filter", "fields": [{"field": "temperature", "at_least": 0}]},
    {"type": "pick", "fields": ["device", "temperature"]},
    {"type": "convert", "fields": [{"field": "temperature", "from_unit": "celsius", "to_unit": "fahrenheit"}]},
]
CASES: Final[dict[str, Steps]] = {
    "no step that does anything": [],
    "`filter` by topic": [{"type": "filter", "topics": ["factory/+/temp"]}],
    "`throttle`": [{"type": "throttle", "every": "1s"}],
    "`envelope`": [{"type": "envelope"}],
    "`filter` by field": _FIELDS[:1],
    "`filter` by field, `pick`, `convert`": _FIELDS,
    "`filter` with `where`": [{"type": "filter", "where": "temperature > `50` && ok"}],
    "`on_change`": [{"type": "on_change", "fields": ["temperature"]}],
    "`window`": [{"type": "window", "every": "10s", "fields": ["temperature"]}],
}


@dataclass(frozen=True, slots=True)
class Row:
    """One chain of steps."""

    name: str
    microseconds: float
    """CPU time a message; of several rounds the median."""
    ratio: float
    """Compared with the first row; of two sinks, with two that share no documents."""


def measure(messages: int) -> list[Row]:
    """Measure every case, all of them in each round, so that other load on the machine affects all alike."""
    stored = [_message(number) for number in range(1, messages + 1)]
    runs: dict[str, Callable[[], list[Chain]]] = {name: partial(_alone, steps) for name, steps in CASES.items()}
    runs["two sinks, documents not shared"] = partial(_alone, _FIELDS, _FIELDS)
    runs["two sinks, documents shared"] = _sharing
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, chains in runs.items():
            times[name].append(_seconds(chains(), stored) / messages * 1e6)
    found = {name: median(each) for name, each in times.items()}
    first, *_, apart, _ = found
    return [Row(name, value, value / found[apart if name.startswith("two") else first]) for name, value in found.items()]


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = ["| steps | CPU, us a message | ratio |", "|---|---:|---:|"]
    lines += [f"| {row.name} | {row.microseconds:.2f} | {row.ratio:.2f} |" for row in rows]
    return "\n".join(lines) + "\n"


def _alone(*of_each: Steps) -> list[Chain]:
    return [_chain(steps) for steps in of_each]


def _sharing() -> list[Chain]:
    documents = Documents()
    return [_chain(_FIELDS, documents), _chain(_FIELDS, documents)]


def _chain(steps: Steps, documents: Documents | None = None) -> Chain:
    configured = []
    for step in steps:
        own = {name: value for name, value in step.items() if name != "type"}
        plugin = plugins.find("step", step["type"])
        configured.append(ConfiguredStep(plugin=plugin, type=step["type"], config=plugin.Config(**own)))
    return Chain(configured, StepNames("sink", "box", "spool"), documents)


def _message(number: int) -> Message:
    device, value = number % 7, number % 100
    payload = b'{"device":"m%d","temperature":%d.5,"humidity":41,"ts":%d,"ok":true}' % (device, value, 1_700_000_000 + number)
    received_at = 1_700_000_000_000_000_000 + number * 1_000_000
    return Message(f"factory/line{device}/temp", payload, received_at, 1, spool="s", sequence=number)


def _seconds(chains: Sequence[Chain], stored: Sequence[Message]) -> float:
    begin = time.process_time()
    for start in range(0, len(stored), AT_ONCE):
        for chain in chains:
            chain.apply(stored[start : start + AT_ONCE])
    return time.process_time() - begin
