"""The loop guard recognises a message that loops, and no other.

Covers also: edgerouter.mqtt.address.
"""

import pytest

from edgerouter import Message
from edgerouter.loop_guard import LoopGuard, subscription
from edgerouter.message import Properties
from edgerouter.mqtt.address import parse_address
from edgerouter.topics import filters_overlap

ONE, TWO = parse_address("mqtt://one:1883"), parse_address("mqtt://two:1883")


@pytest.fixture
def loops() -> LoopGuard:
    guard = LoopGuard()
    guard.subscribed({"one": subscription(ONE, ["plant/#"]), "two": subscription(TWO, ["$share/g/plant/#"])})
    return guard


def message(
    topic: str = "plant/a", payload: bytes = b"x", *, source: str = "one", user: tuple[tuple[str, str], ...] = ()
) -> Message:
    return Message(topic, payload, 0, properties=Properties(user=user) if user else None, source=source)


def test_a_message_does_not_go_back_to_its_broker_and_topic_and_goes_everywhere_else(loops: LoopGuard) -> None:
    to_one, to_two = loops.for_sink("to-one", ONE, "spool"), loops.for_sink("to-two", TWO, "spool")
    assert to_one.loop(message(), "plant/a")
    assert not to_one.loop(message(), "other/a"), "another topic of its broker"
    assert not to_two.loop(message(), "plant/a")
    assert not to_one.loop(message(source=""), "plant/a"), "its origin is unknown"


def test_a_message_with_the_spools_id_is_one_of_ours_and_anothers_is_not(loops: LoopGuard) -> None:
    to_two = loops.for_sink("to-two", TWO, "spool")
    assert to_two.loop(message(user=(("edgerouter-id", "spool-17"),)), "plant/a")
    assert not to_two.loop(message(user=(("edgerouter-id", "other-17"),)), "plant/a")


def test_what_comes_back_without_properties_is_known_by_its_content_once(loops: LoopGuard) -> None:
    to_one, to_two = loops.for_sink("to-one", ONE, "spool"), loops.for_sink("to-two", TWO, "spool")
    to_two.publishing("plant/a", b"x")
    echo = message(source="two")
    assert to_one.loop(echo, "plant/a")
    assert not to_one.loop(echo, "plant/a"), "a device that says the same again is heard"
    assert to_two.loop(echo, "elsewhere/a"), "each sink meets the echo by itself"


def test_what_the_broker_did_not_take_is_not_expected_back(loops: LoopGuard) -> None:
    to_one, to_two = loops.for_sink("to-one", ONE, "spool"), loops.for_sink("to-two", TWO, "spool")
    to_two.publishing("plant/a", b"x")
    to_two.not_published("plant/a", b"x")
    assert not to_one.loop(message(source="two"), "plant/a")


def test_what_no_source_receives_is_not_remembered(loops: LoopGuard) -> None:
    assert not loops.for_sink("to-two", TWO, "spool").publishing("elsewhere", b"x")


def test_the_memory_of_what_was_published_is_bounded_in_number_and_time(loops: LoopGuard, monkeypatch: pytest.MonkeyPatch) -> None:
    to_two = loops.for_sink("to-two", TWO, "spool")
    payloads = [b"%d" % number for number in range(60_000)]
    for payload in payloads:
        to_two.publishing("plant/a", payload)
    known = [payload for payload in payloads if to_two.loop(message(payload=payload, source="two"), "elsewhere/a")]
    assert known == payloads[-50_000:], "the oldest are forgotten"
    to_two.publishing("plant/a", b"old")
    monkeypatch.setattr("time.monotonic", lambda: 1e12)
    to_two.publishing("plant/a", b"new")
    assert not to_two.loop(message(payload=b"old", source="two"), "elsewhere/a")
    assert to_two.loop(message(payload=b"new", source="two"), "elsewhere/a")


@pytest.mark.parametrize(
    ("one", "other", "overlap"),
    [
        ("a/#", "a", True),
        ("a/#", "a/b/c", True),
        ("a/+", "a/b/c", False),
        ("+/b", "a/+", True),
        ("a/b", "a/c", False),
        ("#", "$SYS/x", False),
        ("+/x", "$SYS/x", False),
        ("#", "anything", True),
        ("a", "a/b", False),
        ("a/b/#", "a/+", True),
        ("+/+", "#", True),
    ],
)
def test_filters_overlap_if_a_topic_matches_both(one: str, other: str, overlap: bool) -> None:
    assert filters_overlap(one, other) is overlap
    assert filters_overlap(other, one) is overlap
