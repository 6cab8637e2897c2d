"""A trial sends what the router would send, and explains the rest step by step."""

from __future__ import annotations

from typing import Any

from edgerouter.config.digest import Digest
from edgerouter.config.model import ConfiguredSink, SinkPolicies
from edgerouter.pipeline.shaping.trial import Trial
from edgerouter.sink import SinkConfig
from edgerouter.sinks.stdout import StdoutSink
from support.steps import configured, message


def trial(*steps: dict[str, Any], lines: list[str] | None = None) -> Trial:
    sink = ConfiguredSink(
        name="out",
        plugin=StdoutSink,
        config=SinkConfig(),
        raw={},
        digest=Digest("stdout"),
        type="stdout",
        policies=SinkPolicies(topics=("plant/#",)),
        steps=tuple(configured(*steps)),
    )
    return Trial(sink, "box", "spool", None if lines is None else lines.append)


def test_each_message_is_explained_behind_each_step() -> None:
    lines: list[str] = []
    tried = trial(
        {"type": "filter", "fields": [{"field": "t", "above": 20}]},
        {"type": "convert", "fields": [{"field": "t", "scale": 2}]},
        lines=lines,
    )
    sent = [tried.put(message({"t": value}, number)) for number, value in enumerate((30, 10), start=1)]
    sent.append(tried.put(message({"t": 30}, 3, topic="office/temp")))
    assert [[each.payload for each in results] for results in sent] == [[b'{"t":60.0}'], [], []]
    assert lines == [
        'spool-1 plant/m1/temp {"t":30}',
        "  1:filter: passes",
        '  2:convert: plant/m1/temp {"t":60.0}',
        "  sent as spool-1",
        'spool-2 plant/m1/temp {"t":10}',
        "  1:filter: filtered",
        'spool-3 office/temp {"t":30}',
        "  left out: the sink's `topics` do not match it",
    ]
    assert (tried.sent, tried.filtered, tried.unmatched) == (1, 1, 1)


def test_windows_end_by_the_time_of_the_messages_and_at_the_end() -> None:
    lines: list[str] = []
    tried = trial({"type": "split"}, {"type": "window", "every": "10s", "grace": 0, "functions": ["sum"]}, lines=lines)
    assert tried.put(message([1, 2], 1)) == []
    (first,) = tried.put(message([3], 2, at=20))
    (last,) = tried.end()
    assert (first.id, last.id) == ("spool-1.1~1.2", "spool-2.1")
    assert lines.count("  2:window: held for a later result") == 3
    assert "at 2023-11-14T22:13:30+00:00:" in lines
    assert lines[-3] == "at the end:"


def test_what_a_step_refuses_is_kept_with_its_reason() -> None:
    tried = trial({"type": "pick", "fields": ["t"], "on_error": "dead_letter"})
    assert tried.put(message(b"hot")) == []
    ((refused, reason),) = tried.rejected
    assert refused.payload == b"hot"
    assert reason.startswith("step 1:pick: not JSON")


def test_a_message_of_which_a_part_is_sent_is_not_filtered() -> None:
    tried = trial({"type": "split"}, {"type": "filter", "where": "@ > `1`"})
    assert [each.id for each in tried.put(message([1, 2], 1))] == ["spool-1.2"]
    assert tried.put(message([0], 2)) == []
    assert tried.filtered == 1
