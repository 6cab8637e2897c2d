"""The `tests` of a configuration: try what the steps make of the messages, and compare it with what is expected."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import zip_longest
from typing import Any, Final

from edgerouter.config.model import RouterConfig
from edgerouter.config.shaping import Expected, ShapingTest, payload_of
from edgerouter.errors import BadInput
from edgerouter.json_codec import decoded
from edgerouter.message import Message
from edgerouter.pipeline.shaping.trial import Trial

START: Final = 1_767_225_600_000_000_000
"""Beginning of every test, 2026-01-01T00:00:00Z, in ns."""
_SECOND: Final = 1_000_000_000
_SHOWN: Final = 400


def failures(config: RouterConfig) -> Iterator[str]:
    """Yield a line for each difference, which begins with its path in the configuration."""
    sinks = {sink.name: sink for sink in config.sinks}
    for number, test in enumerate(config.tests):
        trial = Trial(sinks[test.sink], config.host, "test")
        sent = [result for message in _input(test) for result in trial.put(message)]
        sent += trial.end()
        for place, difference in _differences(test, sent, trial):
            yield f"tests[{number}].{place}: {test.name!r}: {difference}"


def _input(test: ShapingTest) -> Iterable[Message]:
    time = START - _SECOND
    for number, given in enumerate(test.input, start=1):
        time = time + _SECOND if given.at is None else START + round(given.at * _SECOND)
        yield Message(given.topic, payload_of(given.payload), time, 1, spool="test", sequence=number)


def _differences(test: ShapingTest, sent: list[Message], trial: Trial) -> Iterator[tuple[str, str]]:
    for number, (wanted, found) in enumerate(zip_longest(test.expect, sent)):
        place = f"expect[{number}]"
        if wanted is None:
            yield "expect", f"{_shown(found)} is sent too"
        elif found is None:
            yield place, f"nothing is sent, expected {_shown(wanted)}{_reasons(trial)}"
        elif wanted.topic is not None and wanted.topic != found.topic:
            yield f"{place}.topic", f"sent to {found.topic!r}, expected {wanted.topic!r}"
        elif not _equal_payloads(payload_of(wanted.payload), found.payload):
            yield f"{place}.payload", f"sent {_short(found.payload)}, expected {_short(payload_of(wanted.payload))}"
    for name, wanted_number, number in (
        ("expect_filtered", test.expect_filtered, trial.filtered),
        ("expect_dead_letters", test.expect_dead_letters, len(trial.rejected)),
    ):
        if wanted_number is not None and wanted_number != number:
            yield name, f"{number}, expected {wanted_number}{_reasons(trial)}"


def _reasons(trial: Trial) -> str:
    """Return the reasons why messages are missing."""
    found = [f"{name} {reason} {number}" for name, by_reason in trial.chain.counted.items() for reason, number in by_reason.items()]
    if trial.unmatched:
        found.insert(0, f"topics do not match {trial.unmatched}")
    return f" ({', '.join(found)})" if found else ""


def _equal_payloads(wanted: bytes, found: bytes) -> bool:
    if wanted == found:
        return True
    documents = decoded(wanted), decoded(found)
    return not any(isinstance(each, BadInput) for each in documents) and _equal(*documents)


def _equal(wanted: Any, found: Any) -> bool:
    """Compare by value; numbers to nine digits, because 70.7 may be 70.69999999999999."""
    if isinstance(wanted, bool) or isinstance(found, bool):
        return wanted is found
    if isinstance(wanted, float) or isinstance(found, float):
        return isinstance(wanted, int | float) and isinstance(found, int | float) and math.isclose(wanted, found, rel_tol=1e-9)
    if isinstance(wanted, dict) and isinstance(found, dict):
        return wanted.keys() == found.keys() and all(_equal(value, found[name]) for name, value in wanted.items())
    if isinstance(wanted, list) and isinstance(found, list):
        return len(wanted) == len(found) and all(map(_equal, wanted, found))
    return bool(wanted == found)


def _shown(message: Expected | Message) -> str:
    payload = message.payload if isinstance(message, Message) else payload_of(message.payload)
    return _short(payload) if message.topic is None else f"{message.topic} {_short(payload)}"


def _short(payload: bytes) -> str:
    text = payload[: 4 * _SHOWN].decode(errors="replace")
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."
