"""Packet ids of QoS 2 are remembered until the broker has passed the message on, and not for ever."""

from __future__ import annotations

from edgerouter.mqtt.handshakes import Handshakes


def test_packet_ids_start_again_after_the_last_and_leave_out_those_in_use() -> None:
    handshakes = Handshakes(10)
    unfinished, _ = handshakes.begin("spool-1", ())
    in_use = {2, 4}

    found = [handshakes.next_id(in_use) for _ in range(65_535 - 3)]

    assert unfinished == 1
    assert found == [3, *range(5, 65_536)]
    assert handshakes.next_id(in_use) == 3, "0 is not a packet id, and 1 belongs to an unfinished handshake"


def test_an_attempt_is_continued_as_far_as_it_came() -> None:
    handshakes = Handshakes(10)
    assert [handshakes.begin(key, ()) for key in ("sent", "received")] == [(1, "new"), (2, "new")]
    handshakes.received(2)

    assert handshakes.resumed(present=True) == [2]
    assert [handshakes.begin(key, ()) for key in ("sent", "received")] == [(1, "sent"), (2, "received")]


def test_a_second_attempt_beside_the_first_gets_another_packet_id() -> None:
    handshakes = Handshakes(10)
    first, _ = handshakes.begin("spool-1", ())
    assert handshakes.begin("spool-1", {first}) == (2, "new")
    assert handshakes.begin("spool-1", ()) == (first, "sent"), "the first is the one to continue"


def test_a_result_that_no_write_waits_for_is_kept_for_one_retry() -> None:
    handshakes = Handshakes(10)
    identifier, _ = handshakes.begin("spool-1", ())
    handshakes.completed(identifier, awaited=False)
    assert [handshakes.is_done("spool-1") for _ in range(2)] == [True, False]


def test_a_result_that_a_write_waits_for_and_a_refusal_leave_nothing_behind() -> None:
    handshakes = Handshakes(10)
    handshakes.completed(handshakes.begin("taken", ())[0], awaited=True)
    handshakes.refused(handshakes.begin("refused", ())[0])

    assert not handshakes.are_worth_keeping
    assert not handshakes.is_done("taken")
    assert handshakes.begin("refused", ())[1] == "new"


def test_a_session_is_worth_keeping_for_a_bounded_number_of_unfinished_handshakes() -> None:
    """Messages that are never tried again would be remembered for ever."""
    handshakes = Handshakes(2)
    assert not handshakes.are_worth_keeping
    seen = []
    for number in range(3):
        handshakes.begin(f"spool-{number}", ())
        seen.append(handshakes.are_worth_keeping)
    assert seen == [True, True, False]


def test_a_session_that_the_broker_has_forgotten_takes_everything_with_it() -> None:
    handshakes = Handshakes(10)
    handshakes.received(handshakes.begin("received", ())[0])
    handshakes.completed(handshakes.begin("done", ())[0], awaited=False)

    assert handshakes.resumed(present=False) == []
    assert not handshakes.is_done("done")
    assert handshakes.begin("received", ())[1] == "new"
