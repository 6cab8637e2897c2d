"""The chain puts messages through all steps, and accounts for each of them.

Covers also: edgerouter.step, edgerouter.item, edgerouter.json_codec, edgerouter.pipeline.shaping.documents.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgerouter.config.model import ConfiguredStep
from edgerouter.item import Item
from edgerouter.pipeline.shaping import documents
from edgerouter.pipeline.shaping.chain import FOR_EVER, RETURNED, Chain, Shaped, StepNames, Trace
from edgerouter.pipeline.shaping.documents import Documents
from edgerouter.step import Step, StepConfig
from support.steps import chain, configured, message


class BrokenStep(Step[StepConfig]):
    """A step that raises what it should not."""

    def apply(self, items: list[Item]) -> list[Item]:
        raise KeyError("device")


class OddStep(Step[StepConfig]):
    """A step whose document cannot be written as JSON."""

    def apply(self, items: list[Item]) -> list[Item]:
        for item in items:
            item.becomes({"a": object()})
        return items


def of(plugin: type[Step[Any]]) -> Chain:
    step = ConfiguredStep(plugin=plugin, type="mine", config=StepConfig())
    return Chain([step], StepNames("out", "box", "spool"))


@pytest.mark.parametrize(("plugin", "reason"), [(BrokenStep, "bug in the step: KeyError"), (OddStep, "made no JSON document")])
def test_a_bug_of_a_step_dead_letters_what_it_failed_with(plugin: type[Step[Any]], reason: str) -> None:
    stored = [message(1), message(2, 2)]
    found = of(plugin).apply(stored)
    assert found.items == []
    assert [item.original for item, _ in found.rejected] == stored
    assert all(reason in text for _, text in found.rejected)


class OddOnceStep(Step[StepConfig]):
    """A step whose second document cannot be written as JSON, and whose third has an integer of more than 64 bits."""

    def apply(self, items: list[Item]) -> list[Item]:
        for item, document in zip(items, (1, {"a": object()}, 2**70), strict=True):
            item.becomes(document)
        return items


def test_a_document_that_json_cannot_hold_is_dead_lettered_alone() -> None:
    stored = [message(0), message(0, 2), message(0, 3)]
    steps = of(OddOnceStep)
    found = steps.apply(stored)
    assert [item.message.payload for item in found.items] == [b"1", str(2**70).encode()]
    assert [item.original for item, _ in found.rejected] == [stored[1]]
    assert steps.counted == {"end": {"not JSON": 1}}


def test_each_step_counts_the_messages_that_reach_it() -> None:
    steps = chain({"type": "filter", "topics": ["b"]}, {"type": "pick", "fields": ["a"]})
    steps.apply([message(1, 1, topic="a"), message(2, 2, topic="b"), message(3, 3, topic="a")])
    steps.apply([message(4, 4, topic="a")])
    assert steps.received == {"1:filter": 4, "2:pick": 1}


def test_each_left_out_message_is_traced_to_its_step_and_reason() -> None:
    trace: list[Trace] = []
    steps = chain({"type": "filter", "topics": ["b"]}, {"type": "pick", "fields": ["a"], "on_error": "drop"}, trace=trace)
    steps.apply([message(1, 1, topic="a"), message(b"x", 2, topic="b")])
    left_out = [each for each in trace if each.outcome != RETURNED]
    assert [(each.step, each.item.original.sequence) for each in left_out] == [("1:filter", 1), ("2:pick", 2)]
    assert left_out[1].outcome.startswith("drop: not JSON: ")


def test_documents_are_decoded_once_for_all_sinks_and_kept_within_a_bound() -> None:
    shared = Documents()
    pick = configured({"type": "pick", "fields": ["a"]})
    one, other = (Chain(pick, StepNames(name, "box", "spool"), shared) for name in "xy")
    stored = [message({"a": n, "b": "x" * 1000}, n) for n in range(1, 3001)]
    items = [Item(each, each) for each in stored[-10:]]
    one.apply(stored)
    shared.read(items)
    again = [Item(each, each) for each in stored[-10:]]
    shared.read(again)
    assert all(first.read is second.read for first, second in zip(items, again, strict=True))
    first = [Item(each, each) for each in stored]
    shared.read(first)
    last = [Item(each, each) for each in reversed(stored)]  # the latest first, before others take their place
    shared.read(last)
    same = [was for was, now in zip(first, reversed(last), strict=True) if was.read is now.read]
    assert 0 < sum(len(item.message.payload) for item in same) <= documents.MOST_BYTES
    assert [item.message.payload for item in other.apply(stored[-2:]).items] == [b'{"a":2999}', b'{"a":3000}']
    other.close()
    assert shared.readers == 1


def accounted(found: Iterable[Shaped], held: Iterable[Item] = ()) -> list[int]:
    """Return the sequence of each message once for every place where it is accounted for, sorted."""
    sequences: list[int] = []
    standing: set[int] = set()
    for shaped in found:
        sequences += [each.sequence for each in (*shaped.filtered, *shaped.delivered)]
        for item in (*shaped.items, *(item for item, _ in shaped.rejected)):
            stored = [item.original] if item.behind is None else [stored.message for stored in item.behind]
            standing.update(each.sequence for each in stored)
    standing.update(item.original.sequence for item in held)
    return sorted([*sequences, *standing])


STEPS: list[dict[str, Any]] = [
    {"type": "filter", "fields": [{"field": "v", "above": 3}]},
    {"type": "filter", "topics": ["t/0"], "invert": True},
    {"type": "filter", "where": "v > `2`", "on_error": "drop"},
    {"type": "pick", "fields": ["v", "l"], "on_error": "dead_letter"},
    {"type": "convert", "fields": [{"field": "v", "scale": 2}]},
    {"type": "split", "field": "l"},
    {"type": "split", "on_error": "drop"},
    {"type": "throttle", "every": "2s"},
    {"type": "sample", "one_in": 2},
    {"type": "on_change", "fields": ["v"]},
    {"type": "window", "every": "5s", "fields": ["v"]},
    {"type": "window", "every": "3s", "fields": ["v"], "on_error": "dead_letter", "max_messages": 4},
    {"type": "envelope"},
    {"type": "tags", "tags": {"x": "{topic}"}},
    {"type": "topic", "topic": "t/{topic[1]}/x"},
]
PAYLOADS = st.one_of(
    st.integers(-5, 9).map(lambda v: {"v": v}),
    st.lists(st.integers(0, 5), max_size=4).map(lambda found: {"v": 1, "l": [{"v": v} for v in found]}),
    st.lists(st.integers(0, 5), max_size=3),
    st.sampled_from([b"", b"\xff", b"NaN", b"[1", b'{"v":"x"}', b'{"v":null}', b"1e999"]),
    st.binary(max_size=20),
)


@given(
    steps=st.lists(st.sampled_from(STEPS), min_size=1, max_size=5),
    payloads=st.lists(PAYLOADS, max_size=30),
    length=st.integers(1, 10),
)
@settings(max_examples=150, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck), database=None)
def test_every_message_is_sent_filtered_rejected_or_held_exactly_once(
    steps: list[dict[str, Any]], payloads: list[Any], length: int
) -> None:
    stored = [message(payload, n, topic=f"t/{n % 3}", at=n / 2) for n, payload in enumerate(payloads, start=1)]
    put_through = chain(*steps)
    found = [put_through.apply(stored[k : k + length]) for k in range(0, len(stored), length)]
    found.append(put_through.flush(FOR_EVER))
    assert not put_through.held
    assert accounted(found) == list(range(1, len(stored) + 1))
    ids = [item.message.id for shaped in found for item in shaped.items]
    assert len(ids) == len(set(ids))
