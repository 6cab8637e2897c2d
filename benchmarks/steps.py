"""Measure the CPU time a message of each step, in one process, without a broker or a spool."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import msgspec

from edgerouter import plugins
from edgerouter.config.model import ConfiguredStep
from edgerouter.message import Message
from edgerouter.pipeline.shaping.chain import Chain, StepNames
from edgerouter.pipeline.shaping.documents import Documents

AT_ONCE: Final = 200
"""Messages of one read."""
ROUNDS: Final = 15
"""Runs of each case; of each list the least counts."""

Steps = list[dict[str, Any]]
Run = Callable[[Sequence[Message]], object]
"""Takes one list of messages."""
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


FLOORS: Final[dict[str, Callable[[bytes], Any]]] = {"`json.loads`": json.loads, "`msgspec` decodes": msgspec.json.Decoder().decode}
"""Work of other libraries in the same run, by which the figures of two machines compare."""


def _envelope_alone(messages: Sequence[Message]) -> None:
    for message in messages:
        _check(message.payload)
        _replace(message, payload=b'{"payload":%b}' % message.payload)


def _fields_alone(messages: Sequence[Message]) -> None:
    for message in messages:
        document = _decode(message.payload)
        temperature = document["temperature"] * 1.8 + 32
        _replace(message, payload=_encode({"device": document["device"], "temperature": temperature}))


_check = msgspec.json.Decoder(msgspec.Raw).decode
_decode = msgspec.json.Decoder().decode
_encode = msgspec.json.Encoder().encode
_replace = msgspec.structs.replace
ALONE: Final[dict[str, Run]] = {
    "calls of `msgspec` for `envelope`, without topic, time and id": _envelope_alone,
    "calls of `msgspec` for `filter` by field, `pick`, `convert`": _fields_alone,
}
"""The calls that steps cannot do without, in bare loops: the least that they could cost."""
TARGETS: Final = {
    "`filter` by topic": 0.5,
    "`throttle`": 0.5,
    "`envelope`": 0.5,
    "`filter` by field, `pick`, `convert`": 2.0,
    "`filter` with `where`": 12.0,
    "`window`": 1.5,
}
"""Microseconds a message, on a machine whose `json.loads` takes `_REFERENCE` for the payload."""
_REFERENCE: Final = 3.3


@dataclass(frozen=True, slots=True)
class Row:
    """One chain of steps, or a floor."""

    name: str
    microseconds: float
    """CPU time a message, beyond that of the first row where it is a chain."""
    ratio: float
    """Compared with `json.loads` of the payload."""
    target: float | None = None
    """Microseconds that it may take on a machine as fast as this one."""


def measure(messages: int) -> list[Row]:
    """Measure every case, all of them in each round, so that other load on the machine affects all alike."""
    runs: dict[str, Callable[[], list[Run]]] = {name: partial(_alone, steps) for name, steps in CASES.items()}
    runs["two sinks, documents not shared"] = partial(_alone, _FIELDS, _FIELDS)
    runs["two sinks, documents shared"] = _sharing
    runs |= {name: partial(_floor, decode) for name, decode in FLOORS.items()}
    runs |= {name: partial(_bare, run) for name, run in ALONE.items()}
    times: dict[str, list[list[float]]] = {name: [] for name in runs}
    for _ in range(ROUNDS):
        for name, made in runs.items():
            times[name].append(_seconds(made(), messages))
    # other load makes a list dearer, and never cheaper
    found = {name: sum(map(min, zip(*rounds, strict=True))) / messages * 1e6 for name, rounds in times.items()}
    first, (unit, *_) = next(iter(found.values())), [found[name] for name in FLOORS]
    rows = []
    for name, value in found.items():
        own = value if value == first or name in FLOORS or name in ALONE else value - first
        target = TARGETS.get(name)
        rows.append(Row(name, own, own / unit, None if target is None else target * unit / _REFERENCE))
    return rows


def as_markdown(rows: Sequence[Row]) -> str:
    """Return the table."""
    lines = ["| steps | CPU, us a message | target on this machine | to `json.loads` |", "|---|---:|---:|---:|"]
    for row in rows:
        target = "" if row.target is None else f"{row.target:.2f}"
        lines.append(f"| {row.name} | {row.microseconds:.2f} | {target} | {row.ratio:.2f} |")
    return "\n".join(lines) + "\n"


def _floor(decode: Callable[[bytes], Any]) -> list[Run]:
    def decode_all(messages: Sequence[Message]) -> None:
        for message in messages:
            decode(message.payload)

    return [decode_all]


def _bare(run: Run) -> list[Run]:
    return [run]


def _alone(*of_each: Steps) -> list[Run]:
    return [_chain(steps).apply for steps in of_each]


def _sharing() -> list[Run]:
    documents = Documents()
    return [_chain(_FIELDS, documents).apply, _chain(_FIELDS, documents).apply]


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


def _seconds(runs: Sequence[Run], messages: int) -> list[float]:
    """Return the CPU seconds of each list; its messages are made just before, as those that a reader has decoded."""
    found = []
    for start in range(1, messages, AT_ONCE):
        stored = [_message(number) for number in range(start, start + AT_ONCE)]
        begin = time.process_time()
        for run in runs:
            run(stored)
        found.append(time.process_time() - begin)
    return found
