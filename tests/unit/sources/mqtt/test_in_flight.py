"""Messages that a run holds are acknowledged once they are safe, whatever becomes of the connection."""

from __future__ import annotations

import pytest

from edgerouter.sources.mqtt.in_flight import PUBACK, PUBREC
from edgerouter.sources.mqtt.state import SessionState
from support.mqtt_run import Run


def test_a_message_of_qos_2_whose_answer_got_lost_is_answered_again_and_not_stored_twice() -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    run.receive(5, b"x", qos=2)
    run.take().acknowledge()
    run.disconnect()
    run.sent.clear()
    run.connect()
    run.receive(5, b"x", qos=2, again=True)
    assert run.payloads() == []
    assert bytes(run.sent) == PUBREC + b"\x00\x05"
    run.redelivery.released([b"\x62\x02\x00\x05"])
    run.receive(5, b"y", qos=2, again=True)
    assert run.payloads() == [b"y"]


def test_what_this_run_holds_is_acknowledged_on_the_new_connection_once_it_is_safe() -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    run.receive(1, b"1")
    first = run.take()
    run.receive(2, b"2")
    run.disconnect()
    run.connect()
    run.receive(1, b"1", again=True)
    run.receive(2, b"2", again=True)
    second = run.take()
    assert [message.payload for message in second.messages] == [b"2"]
    assert run.payloads() == []
    assert not run.sent
    first.acknowledge()
    assert bytes(run.sent) == PUBACK + b"\x00\x01"
    second.acknowledge()
    assert bytes(run.sent) == PUBACK + b"\x00\x01" + PUBACK + b"\x00\x02"
    assert run.in_flight.unacknowledged == 0


def test_a_message_that_became_safe_between_two_connections_is_acknowledged_when_it_comes_again() -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    run.receive(1, b"1")
    first = run.take()
    run.disconnect()
    run.connect()
    first.acknowledge()
    assert not run.sent
    run.receive(1, b"1", again=True)
    assert run.payloads() == []
    assert bytes(run.sent) == PUBACK + b"\x00\x01"


def test_a_message_that_became_safe_without_a_connection_is_acknowledged_when_it_comes_again() -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    run.receive(1, b"1")
    run.receive(2, b"2", qos=2)
    first = run.take()
    run.disconnect()
    first.acknowledge()
    for _ in range(2):
        run.connect()
        run.disconnect()
    run.connect()
    run.receive(1, b"1", again=True)
    run.receive(2, b"2", qos=2, again=True)
    run.receive(3, b"3", again=True)
    assert run.payloads() == [b"3"]
    assert bytes(run.sent) == PUBACK + b"\x00\x01" + PUBREC + b"\x00\x02"


def test_an_acknowledgement_of_a_connection_that_is_gone_goes_nowhere() -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    run.receive(1, b"1")
    first = run.take()
    run.disconnect()
    run.connect(session_present=False)
    first.acknowledge()
    first.acknowledge()
    assert not run.sent
    assert run.in_flight.unacknowledged == 0


def test_an_acknowledgement_that_was_sent_and_not_read_is_sent_again_and_the_message_not_stored_twice() -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    for identifier in (1, 2):
        run.receive(identifier, b"x")
    run.take().acknowledge()
    run.disconnect()
    run.sent.clear()
    run.connect()
    for identifier in (2, 3):
        run.receive(identifier, b"x", again=True)
    assert run.payloads() == [b"x"]
    assert bytes(run.sent) == PUBACK + b"\x00\x02"


@pytest.mark.parametrize("same", [True, False], ids=["the same content", "another content"])
def test_a_broker_that_numbers_anew_on_a_resumed_session_loses_no_message_of_qos_2(same: bool) -> None:
    run = Run(SessionState("broker", "client"))
    run.connect(session_present=False)
    run.receive(5, b"stored", qos=2)
    run.take().acknowledge()
    run.disconnect()
    run.in_flight.unconfirmed.resolve()
    run.connect()
    run.receive(5, b"stored" if same else b"never stored", qos=2, again=True)
    assert run.payloads() == ([] if same else [b"never stored"])
