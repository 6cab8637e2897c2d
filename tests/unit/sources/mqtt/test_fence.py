"""A PINGREQ behind acknowledgements: its answer says that the broker has read them.

Covers also: edgerouter.sources.mqtt.read_ahead.
"""

from __future__ import annotations

import time

import pytest

from edgerouter.message import Message
from edgerouter.sources.mqtt.fence import PINGREQ, Fence, Unconfirmed
from edgerouter.sources.mqtt.in_flight import Batch, InFlight
from edgerouter.sources.mqtt.read_ahead import Allowance, ReadAhead

MIB = 1024**2


def batch(messages: int = 1) -> Batch:
    made = Batch(1)
    made.received = messages
    made.size = messages
    return made


class Link:
    """A connection without a network."""

    def __init__(self, most: int | None = 100) -> None:
        self.sent = b""
        self.times_passed = 0
        self.unconfirmed: Unconfirmed[Batch] = Unconfirmed(most, 10**6)
        self.fence = Fence(self.unconfirmed, self.send, self.passed)

    def send(self, data: bytes) -> None:
        self.sent += data

    def passed(self) -> None:
        self.times_passed += 1

    def acknowledge(self, messages: int = 1) -> Batch:
        made = batch(messages)
        self.unconfirmed.add(made, answered=True)
        self.fence.send(b"\x40\x02\x00\x01" * messages)
        return made


def test_only_the_answer_to_a_ping_behind_the_acknowledgement_confirms_it() -> None:
    link = Link()
    link.fence.keep_alive_sent()
    first = link.acknowledge()
    assert link.sent.endswith(PINGREQ)
    assert link.fence.answered(), "the keep-alive was sent before"
    assert not first.confirmation.confirmed
    assert not link.fence.answered(), "this is ours"
    assert first.confirmation.confirmed
    assert link.times_passed == 1


def test_the_age_is_that_of_the_oldest_acknowledgement_without_proof(monkeypatch: pytest.MonkeyPatch) -> None:
    link = Link()
    now = 1000.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    assert link.unconfirmed.age == 0.0
    link.acknowledge()
    now += 2
    link.acknowledge()
    now += 1
    assert link.unconfirmed.age == pytest.approx(3.0)
    assert not link.fence.answered()
    assert link.unconfirmed.age == pytest.approx(1.0)
    link.unconfirmed.disconnected()
    assert link.unconfirmed.age == 0.0, "the broker resends on the next connection what it did not read"


def test_the_oldest_message_that_waits_for_its_commit_has_an_age() -> None:
    in_flight = InFlight(max_messages=10, max_bytes=1000, max_qos0_bytes=1000, dropped=lambda *_, **__: None)
    for age in (0, 5, 3):
        in_flight.current = batch()
        in_flight.current.messages = [Message("t", b"", time.time_ns() - age * 10**9, qos=1)] if age else []
        in_flight.open.append(in_flight.current)
    assert in_flight.age == pytest.approx(5.0, abs=1.0)
    in_flight.open.clear()
    in_flight.current = Batch(1)
    assert in_flight.age == 0.0


def test_an_idle_connection_is_not_asked_anything() -> None:
    link = Link()
    for _ in range(3):
        link.fence.tick()
    assert link.sent == b""
    link.acknowledge()
    link.fence.answered()
    sent = link.sent
    for _ in range(3):
        link.fence.tick()
    assert link.sent == sent


def test_many_acknowledgements_are_not_each_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = 1000.0
    monkeypatch.setattr("edgerouter.sources.mqtt.fence.time.monotonic", lambda: clock)
    link = Link(most=80)
    acknowledged = [link.acknowledge() for _ in range(21)]
    assert link.sent.count(PINGREQ) == 3, "the first, and then every eighth part of the bound"
    for _ in range(3):
        link.fence.answered()
    assert all(each.confirmation.confirmed for each in acknowledged)
    link.acknowledge()
    clock += 1
    link.fence.tick()
    link.fence.answered()
    assert link.unconfirmed.messages == 0


def test_what_a_former_connection_left_is_confirmed_only_after_it_was_answered_again() -> None:
    link = Link()
    first = link.acknowledge()
    link.unconfirmed.disconnected()
    link.fence.answered()
    assert not first.confirmation.confirmed, "the connection was gone: this answers nothing"
    link.unconfirmed.connected()
    fence = Fence(link.unconfirmed, link.send, link.passed)
    link.unconfirmed.resolve()
    fence.tick()
    fence.answered()
    assert first.confirmation.confirmed


def test_a_connection_that_was_read_to_its_end_confirms_what_was_answered_on_it() -> None:
    link = Link()
    before = link.acknowledge()
    link.unconfirmed.connected()
    answered = link.acknowledge()
    link.unconfirmed.disconnected()
    later = batch()
    link.unconfirmed.add(later, answered=False)
    link.unconfirmed.read_to_the_end()
    assert [each.confirmation.confirmed for each in (before, answered, later)] == [False, True, False]


def test_nothing_is_remembered_where_the_broker_keeps_no_session_and_so_sends_nothing_again() -> None:
    link = Link(most=None)
    assert link.acknowledge(10**6).confirmation.confirmed
    assert (link.unconfirmed.messages, link.unconfirmed.bytes) == (0, 0)


def test_after_a_broker_overran_all_that_may_be_read_ahead_a_connection_gets_no_more_than_it_brought() -> None:
    allowance = Allowance(64 * MIB)
    assert not allowance.exceeded(64 * MIB, brought=0)
    assert allowance.exceeded(64 * MIB + 1, brought=10 * MIB)
    assert allowance.exceeded(11 * MIB, brought=10 * MIB)
    assert not allowance.exceeded(9 * MIB, brought=10 * MIB)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
def test_answers_are_found_between_messages_however_the_bytes_are_cut(size: int) -> None:
    message = b"\x32\xd0\x01" + b"\xd0\x00" * 104
    long = b"\x32\x80\x80\x01" + b"\xd0\x00" * 8192
    stream = message + b"\xd0\x00" + message * 2 + long + b"\xd0\x00\x90\x03\x00\x01\x00\x62\x02\x00\x01\xd0\x00" + message
    ahead = ReadAhead(stream[:1])
    for at in range(1, len(stream), size):
        ahead.hold(stream[at : at + size])
    assert ahead.new == [(0xD0, b""), (0xD0, b""), (0x90, b"\x00\x01\x00"), (0xD0, b"")]
