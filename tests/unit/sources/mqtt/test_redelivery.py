"""Telling messages that come again from new ones: in doubt, new.

Covers also: edgerouter.sources.mqtt.duplicates, edgerouter.sources.mqtt.receipt.
"""

from __future__ import annotations

import pytest

from edgerouter import Delivery, Message
from edgerouter.sources.mqtt.in_flight import PUBACK, PUBREC
from edgerouter.sources.mqtt.state import SessionState
from support.mqtt_run import Run, stored


def test_what_an_earlier_run_stored_is_acknowledged_at_once_and_in_order() -> None:
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect()
    for identifier in (1, 2, 3):
        run.receive(identifier, b"%d" % identifier, again=True)
    assert run.payloads() == []
    assert bytes(run.sent) == b"".join(PUBACK + bytes((0, identifier)) for identifier in (1, 2, 3))


def test_the_broker_may_know_of_the_first_acknowledgements() -> None:
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect()
    run.receive(3, b"3", again=True)
    run.receive(4, b"4", again=True)
    run.receive(5, b"5")
    assert run.payloads() == [b"4", b"5"]


def test_what_an_earlier_run_stored_is_known_on_every_connection_until_the_broker_has_read_its_acknowledgement() -> None:
    """A starved broker resends it, does not read the acknowledgements before the connection is lost, and resends it again."""
    state, deliveries = stored()
    run = Run(state, deliveries)
    for _ in range(3):
        run.connect()
        for identifier in (1, 2, 3):
            run.receive(identifier, b"%d" % identifier, again=True)
        run.receive(4, b"4")
        run.disconnect()
        assert not any(delivery.confirmation.confirmed for delivery in deliveries if delivery.confirmation)
    assert run.payloads() == [b"4"] * 3


def test_what_the_broker_has_confirmed_is_not_mistaken_for_something_new() -> None:
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect()
    for identifier in (1, 2, 3):
        run.receive(identifier, b"%d" % identifier, again=True)
    run.receive(4, b"4")
    run.in_flight.unconfirmed.confirm()
    run.disconnect()
    run.connect()
    run.receive(1, b"1", again=True)
    assert run.payloads() == [b"4", b"1"]


@pytest.mark.parametrize(
    ("identifier", "payload", "topic", "again"),
    [(9, b"1", b"t", True), (1, b"other", b"t", True), (1, b"1", b"other", True), (1, b"1", b"t", False)],
    ids=["another packet id", "another content", "another topic", "not marked as sent again"],
)
def test_whatever_differs_is_stored(identifier: int, payload: bytes, topic: bytes, again: bool) -> None:
    state, deliveries = stored(1)
    run = Run(state, deliveries)
    run.connect()
    run.receive(identifier, payload, topic=topic, again=again)
    assert run.payloads() == [payload]


def test_another_session_makes_receipts_void() -> None:
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect(session_present=False)
    run.receive(1, b"1", again=True)
    assert run.payloads() == [b"1"]
    later = Run(state, deliveries)
    later.connect()
    later.receive(1, b"1", again=True)
    assert later.payloads() == [b"1"]


def test_an_order_that_breaks_makes_the_rest_void() -> None:
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect()
    run.receive(1, b"1", again=True)
    run.receive(3, b"3", again=True)
    run.receive(2, b"2", again=True)
    assert run.payloads() == [b"3", b"2"]


def test_each_receipt_is_used_once() -> None:
    state, deliveries = stored(1)
    run = Run(state, deliveries)
    run.connect()
    run.receive(1, b"1", again=True)
    run.receive(1, b"1", again=True)
    assert run.payloads() == [b"1"]


def test_a_broker_that_uses_packet_ids_again_at_once_makes_receipts_ambiguous_so_they_do_not_count() -> None:
    state = SessionState("broker", "client")
    run = Run(state)
    run.connect(session_present=False)
    for payload in (b"a", b"a"):
        run.receive(1, payload)
        delivery = run.take()
        delivery.acknowledge()
    assert state.ids_reused
    later = Run(state, [delivery])
    later.connect()
    later.receive(1, b"a", again=True)
    assert later.payloads() == [b"a"]


def test_packet_ids_that_start_again_after_the_last_are_not_a_reuse() -> None:
    state = SessionState("broker", "client")
    run = Run(state)
    run.connect(session_present=False)
    for identifier in (65_534, 65_535, 1, 2):
        run.receive(identifier, b"")
        run.take().acknowledge()
    assert not state.ids_reused


def test_a_spoiled_receipt_is_ignored() -> None:
    state, deliveries = stored()
    for spoiled in (b"", b"\x01", deliveries[0].receipt[:-1], deliveries[0].receipt + b"x", b"\x02" + deliveries[0].receipt[1:]):
        run = Run(state, [Delivery(deliveries[0].messages, lambda: None, spoiled)])
        run.connect()
        run.receive(1, b"1", again=True)
        assert run.payloads() == [b"1"]


def test_a_receipt_of_mixed_qualities_of_service_names_each_message() -> None:
    state = SessionState("broker", "client")
    run = Run(state)
    run.connect(session_present=False)
    run.receive(1, b"one")
    run.receive(2, b"two", qos=2)
    delivery = run.take()
    messages = [Message("t", b"zero", 0), *delivery.messages]
    later = Run(state, [Delivery(messages, lambda: None, delivery.receipt)])
    later.connect()
    later.receive(1, b"one", again=True)
    later.receive(2, b"two", again=True, qos=2)
    assert later.payloads() == []
    assert bytes(later.sent) == PUBACK + b"\x00\x01" + PUBREC + b"\x00\x02"


def test_a_receipt_counts_until_it_is_confirmed_whatever_comes_after_it() -> None:
    """A second crash, soon after the first, finds what the first left and what was stored since."""
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect()
    run.receive(3, b"3", again=True)
    run.receive(4, b"4", again=True)
    run.receive(5, b"5")
    since = run.take()
    since.acknowledge()
    assert not any(each.confirmation.confirmed for each in (*deliveries, since) if each.confirmation)
    later = Run(state, [*deliveries, since])
    later.connect()
    for identifier in (3, 4, 5, 6):
        later.receive(identifier, b"%d" % identifier, again=True)
    assert later.payloads() == [b"6"]


def test_packet_ids_that_begin_anew_on_a_connection_make_what_came_before_it_confirmed() -> None:
    state, deliveries = stored()
    run = Run(state, deliveries)
    run.connect()
    run.receive(1, b"new")
    assert all(each.confirmation.confirmed for each in deliveries if each.confirmation)


def test_receipts_say_themselves_that_packet_ids_are_ambiguous() -> None:
    """The state of the session is written later than the receipts, and a crash may come between."""
    state = SessionState("broker", "client")
    run = Run(state)
    run.connect(session_present=False)
    deliveries = []
    for payload in (b"a", b"a"):
        run.receive(1, payload)
        deliveries.append(run.take())
        deliveries[-1].acknowledge()
    later = Run(SessionState("broker", "client", token=state.token), deliveries)
    later.connect()
    later.receive(1, b"a", again=True)
    assert later.payloads() == [b"a"]
