"""No payload makes a step raise, and each message is settled once, whatever the steps.

Covers: edgerouter.pipeline.shaping.chain.
"""

from __future__ import annotations

import json
import os
import random
from collections import Counter
from typing import Any

from edgerouter import Message
from edgerouter.pipeline.shaping.chain import FOR_EVER, Chain, Shaped
from support.steps import chain, message

PAYLOADS = int(os.environ.get("EDGEROUTER_TEST_PAYLOADS", "4000"))
NAMES = ("a", "b", "a.b", "0", "", "\u00fc", "x" * 50)
VALUES: tuple[Any, ...] = (0, 1, -1, 1.5, 1e300, 2**63, 10**40, True, False, None, "", "21.5", "\ud7ff", "on", [], {}, [[]])
RAW = (b"", b"{", b"NaN", b"1e999", b"[" * 2000, b"\xff\xfe", b'{"a":1,"a":2}', b'"\\ud800"', b"9" * 5000, b"[" * 500 + b"]" * 500)
STEPS: tuple[dict[str, Any], ...] = (
    {"type": "filter", "fields": [{"field": "a", "above": 0}]},
    {"type": "filter", "fields": [{"field": "a.b", "matches": "x"}, {"field": "b", "not_equals": 1}], "on_error": "drop"},
    {"type": "filter", "where": "a > `1` || length(b) == `2` || sum(a) > `3`"},
    {"type": "project", "expression": "{a: a, b: sort(b), c: max(a)}"},
    {"type": "project", "expression": "[a, b]", "on_error": "dead_letter"},
    {"type": "pick", "fields": ["a", "a.b", "b.0"]},
    {"type": "drop_fields", "fields": ["b", "a.b"], "on_error": "drop"},
    {"type": "rename", "fields": {"a": "b.c", "b": "a"}},
    {"type": "set", "fields": {"a.b": 1, "c": [1]}},
    {"type": "convert", "fields": [{"field": "a", "type": "number", "scale": 1e200, "round": 2}]},
    {
        "type": "convert",
        "fields": [{"field": "b", "type": "boolean"}, {"field": "a", "type": "integer"}],
        "on_error": "dead_letter",
    },
    {"type": "tags", "tags": {"a.host": "{host}", "t": "{topic[1]}"}},
    {"type": "topic", "topic": "x/{topic[1:]}"},
    {"type": "user_properties", "properties": {"a": "{topic}"}},
    {"type": "envelope"},
    {"type": "envelope", "format": "cloudevents"},
    {"type": "split"},
    {"type": "split", "field": "a", "keep": ["b"], "on_error": "drop"},
    {"type": "throttle", "every": "2s", "by": ["a"]},
    {"type": "sample", "one_in": 2},
    {"type": "on_change", "fields": ["a"], "deadband": 1, "deadband_percent": 5},
    {"type": "on_change", "ignore": ["b"]},
    {"type": "window", "every": "5s", "fields": ["a"], "functions": ["count", "sum", "mean", "p50"]},
    {"type": "window", "every": "5s", "by": ["b", "topic"], "fields": ["a"], "max_messages": 3, "on_error": "dead_letter"},
    {"type": "compress", "algorithm": "gzip", "base64": True},
)


def payload(chance: random.Random) -> bytes:
    """Return a document, or one with a broken byte, or something else."""
    if chance.random() < 0.1:
        return chance.choice(RAW)
    text = json.dumps(_document(chance, 3)).encode()
    if chance.random() < 0.1:
        place = chance.randrange(len(text))
        text = text[:place] + bytes([chance.randrange(256)]) + text[place + 1 :]
    return text


def _document(chance: random.Random, depth: int) -> Any:
    kind = chance.random() if depth else 0
    if kind < 0.3:
        return chance.choice(VALUES)
    if kind < 0.5:
        return [_document(chance, depth - 1) for _ in range(chance.randrange(4))]
    return {chance.choice(NAMES): _document(chance, depth - 1) for _ in range(chance.randrange(1, 4))}


def settle(shaped: Shaped, settled: Counter[int]) -> None:
    """Count what the router would settle when all of it is delivered."""
    gone = [*shaped.filtered, *shaped.delivered]
    for item in shaped.items:
        for each in item.behind or ():
            each.open -= 1
            each.delivered = True
            if not each.open:
                gone.append(each.message)
        if item.behind is None:
            gone.append(item.original)
    settled.update(each.sequence for each in gone)


def dead(shaped: Shaped) -> set[int]:
    """Return the messages that go to the dead letters, of which a part may be sent, too."""
    refused = (item for item, _ in shaped.rejected)
    return {each.sequence for item in refused for each in _behind(item.behind, item.original)}


def _behind(behind: Any, original: Message) -> list[Message]:
    return [original] if behind is None else [each.message for each in behind]


def test_any_payload_goes_through_any_steps_and_is_settled_once() -> None:
    seed = random.randrange(1 << 32)
    print(f"seed {seed}")
    chance = random.Random(seed)
    sequence = 0
    while sequence < PAYLOADS:
        steps: Chain = chain(*chance.choices(STEPS, k=chance.randrange(1, 6)))
        stored = [message(payload(chance), sequence + n, topic=f"plant/m{n % 3}", at=n / 10) for n in range(1, 201)]
        sequence += len(stored)
        settled: Counter[int] = Counter()
        refused: set[int] = set()
        for shaped in (steps.apply(stored[:100]), steps.apply(stored[100:]), steps.flush(FOR_EVER)):
            settle(shaped, settled)
            refused |= dead(shaped)
        assert not any(reason == "bug" for _, reason in steps.counts), steps.counts
        assert max(settled.values(), default=0) <= 1
        assert settled.keys() | refused == {each.sequence for each in stored}
