"""The step makes documents of Sparkplug B payloads, and knows aliases over restarts.

Covers also: edgerouter_sparkplug.births, edgerouter_sparkplug.payload.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, ClassVar

import pytest

from edgerouter import BadInput, Item, Message, StepContext, StepState
from edgerouter.testing import StepConformance
from edgerouter.testing.step_bench import BAD_PAYLOADS, Bench, stored
from edgerouter_sparkplug.payload import Payload
from edgerouter_sparkplug.step import SparkplugConfig, SparkplugStep


class Collected:
    """A context that collects what the step refuses."""

    def __init__(self, state: StepState | None = None) -> None:
        self.refused: list[str] = []
        self.state = state or StepState()
        self.context = StepContext("out", "box", "spool", self._refuse, lambda _item, _reason: None, self.state)

    def _refuse(self, _item: Item, error: BadInput) -> bool:
        self.refused.append(str(error))
        return True


def payload(*metrics: dict[str, Any], seq: int | None = None, timestamp: int | None = None) -> bytes:
    """Encode a payload whose metrics have these fields."""
    message = Payload(seq=seq, timestamp=timestamp)
    for fields in metrics:
        message.metrics.add(**fields)
    return bytes(message.SerializeToString())


def birth(number: int, *metrics: dict[str, Any]) -> bytes:
    return payload({"name": "bdSeq", "datatype": 8, "long_value": number}, *metrics)


def put_through(step: SparkplugStep, *messages: tuple[str, bytes]) -> list[Any]:
    """Return the document of each message that comes out, or its payload where it has not changed."""
    stored = [Message(topic, body, n, spool="spool", sequence=n) for n, (topic, body) in enumerate(messages, start=1)]
    out = step.apply([Item(each, each) for each in stored])
    return [json.loads(item.payload) if item.changed else item.payload for item in out]


def step_of(collected: Collected, **config: Any) -> SparkplugStep:
    return SparkplugStep(SparkplugConfig(**config), collected.context)


NODE = "spBv1.0/plant/{}/edge1"


class TestSparkplugStep(StepConformance):
    """The samples are a birth that names an alias, and the data that use it."""

    step_class = SparkplugStep
    config: ClassVar[Mapping[str, Any]] = {}
    tight: ClassVar[Mapping[str, Any]] = {"max_bytes": "64KiB"}
    samples = (
        Message(NODE.format("NBIRTH"), birth(3, {"name": "Temp", "alias": 7, "datatype": 9, "float_value": 21.5}), 0),
        Message(NODE.format("NDATA"), payload({"alias": 7, "float_value": 22.5}), 0),
        Message("plant/other", b'{"temperature": 21.5}', 0),
    )


@pytest.mark.parametrize("on_error", ["pass", "drop"])
def test_a_payload_that_is_not_sparkplug_raises_nothing(on_error: str) -> None:
    """Of a node's topic, where the suite's own bad payloads are of another."""
    bench = Bench(SparkplugStep, {}, on_error)
    bodies = [*BAD_PAYLOADS, *(bytes([tag]) * 40 for tag in range(256))]
    for message in stored([Message(NODE.format(kind), body, 0) for body in bodies for kind in ("NBIRTH", "NDATA", "NDEATH")]):
        bench.apply([Item(message, message)])
    assert all(len(error.reason) <= 40 and len(str(error)) <= 2000 for _, error in bench.refused)


def test_a_birth_names_the_aliases_of_later_data_even_after_a_restart() -> None:
    first = Collected()
    born = birth(3, {"name": "Temp", "alias": 7, "datatype": 9, "float_value": 21.5})
    device = payload({"name": "Speed", "alias": 8, "datatype": 3, "int_value": 2**32 - 5})
    documents = put_through(step_of(first), (NODE.format("NBIRTH"), born), (NODE.format("DBIRTH") + "/motor", device))
    assert documents[0]["values"] == {"bdSeq": 3, "Temp": 21.5}
    assert documents[1] == {
        "group": "plant",
        "type": "DBIRTH",
        "node": "edge1",
        "device": "motor",
        "metrics": [{"name": "Speed", "value": -5, "type": "Int32", "alias": 8}],
        "values": {"Speed": -5},
    }
    again = Collected(first.state)
    data = payload({"alias": 8, "timestamp": 99, "int_value": 4, "is_historical": True}, seq=12, timestamp=1000)
    (document,) = put_through(step_of(again), (NODE.format("DDATA") + "/motor", data))
    assert document["metrics"] == [{"name": "Speed", "value": 4, "type": "Int32", "timestamp": 99, "alias": 8, "historical": True}]
    assert (document["seq"], document["timestamp"]) == (12, 1000)


def test_data_with_an_alias_that_no_birth_has_named_is_refused_with_its_cure() -> None:
    collected = Collected()
    data = payload({"alias": 8, "int_value": 4})
    assert put_through(step_of(collected), (NODE.format("NDATA"), data)) == [data]
    assert collected.refused == ["missing field: no birth has named the alias 8; ask the node for a rebirth"]


def test_a_new_birth_of_the_node_replaces_all_aliases() -> None:
    collected = Collected()
    put_through(
        step := step_of(collected),
        (NODE.format("NBIRTH"), birth(1, {"name": "Old", "alias": 1, "datatype": 3})),
        (NODE.format("NBIRTH"), birth(2, {"name": "New", "alias": 2, "datatype": 3})),
    )
    put_through(step, (NODE.format("NDATA"), payload({"alias": 1, "int_value": 4})))
    assert len(collected.refused) == 1


def test_the_death_of_an_earlier_connection_is_filtered() -> None:
    collected = Collected()
    death = NODE.format("NDEATH")
    documents = put_through(step_of(collected), (NODE.format("NBIRTH"), birth(5)), (death, birth(4)), (death, birth(5)))
    assert [(each["type"], each["values"]) for each in documents] == [("NBIRTH", {"bdSeq": 5}), ("NDEATH", {"bdSeq": 5})]
    assert collected.refused == []


@pytest.mark.parametrize(
    ("topic", "body"),
    [("spBv1.0/STATE/host", b'{"online":true}'), ("plant/temp", b"21.5"), ("spBv1.0/plant/XDATA/edge1", b"x")],
)
def test_other_topics_go_on_unchanged(topic: str, body: bytes) -> None:
    collected = Collected()
    assert put_through(step_of(collected), (topic, body)) == [body]
    assert collected.refused == []


@pytest.mark.parametrize(
    ("topic", "body", "reason"),
    [
        (NODE.format("NDATA"), b"\xff\xff\xff", "not a Sparkplug B payload"),
        (NODE.format("DDATA"), payload(), "has a device in its topic"),
        (NODE.format("NDATA") + "/motor", payload(), "has no device in its topic"),
    ],
)
def test_a_malformed_message_is_refused(topic: str, body: bytes, reason: str) -> None:
    collected = Collected()
    assert put_through(step_of(collected), (topic, body)) == [body]
    assert len(collected.refused) == 1
    assert reason in collected.refused[0]


def test_nodes_that_invent_themselves_take_a_bounded_memory_and_the_state_is_as_small() -> None:
    collected = Collected()
    step = step_of(collected, max_bytes=20_000)
    for number in range(500):
        put_through(step, (f"spBv1.0/g/NBIRTH/n{number}", birth(1, {"name": "x" * 100, "alias": 1, "datatype": 3})))
    assert len(collected.state.content) < 20_000
    put_through(step, ("spBv1.0/g/NDATA/n499", payload({"alias": 1, "int_value": 1})))
    assert collected.refused == []
    put_through(step, ("spBv1.0/g/NDATA/n0", payload({"alias": 1, "int_value": 1})))
    assert len(collected.refused) == 1


def test_a_state_that_is_damaged_is_begun_anew() -> None:
    state = StepState()
    state.save(b"\xc1garbage")
    collected = Collected(state)
    assert put_through(step_of(collected), (NODE.format("NBIRTH"), birth(1)))[0]["values"] == {"bdSeq": 1}


def test_parts_of_the_document_can_be_left_out() -> None:
    (document,) = put_through(step_of(Collected(), metrics=False), (NODE.format("NBIRTH"), birth(1)))
    assert set(document) == {"group", "type", "node", "values"}
