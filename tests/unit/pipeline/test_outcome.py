"""Every message of a write is sorted once, by what its outcome says.

Covers also: edgerouter.outcome.
"""

from typing import Any, cast

import pytest

from edgerouter import DELIVERED, Failure, Outcome, Rejected, Throttled, Unavailable
from edgerouter.errors import WouldLoop
from edgerouter.pipeline.outcome import sort_out
from support.pipeline import messages, sequences


def test_what_is_not_listed_is_delivered() -> None:
    batch = messages(3)
    found = sort_out(batch, DELIVERED)
    assert found.delivered == batch
    assert (found.left, found.cause, found.failed) == ([], None, False)


def test_each_message_goes_where_its_failure_says_and_the_rest_keeps_its_order() -> None:
    failed = [Failure(3, Unavailable("busy")), Failure(1, Rejected("no")), Failure(2, WouldLoop("again"))]
    found = sort_out(messages(6), Outcome(failed, untried=[5, 0]))
    assert sequences(found.delivered) == [5]
    assert [(message.sequence, str(error)) for message, error in found.rejected] == [(2, "no")]
    assert sequences(found.circling) == [3]
    assert sequences(found.left) == [1, 4, 6]


def test_the_first_failure_is_the_cause_unless_the_service_throttles() -> None:
    found = sort_out(messages(3), Outcome([Failure(0, Unavailable("a")), Failure(1, Throttled("b")), Failure(2, Unavailable("c"))]))
    assert str(found.cause) == "b"


@pytest.mark.parametrize("arrived", [True, False])
def test_only_a_message_without_an_answer_makes_the_rest_uncertain(arrived: bool) -> None:
    found = sort_out(messages(3), Outcome([Failure(0, Unavailable("?"), may_have_arrived=arrived)], untried=[1]))
    assert found.uncertain is arrived


def test_untried_messages_alone_give_no_reason_to_wait() -> None:
    found = sort_out(messages(2), Outcome(untried=[1]))
    assert (found.cause, found.failed, sequences(found.left)) == (None, False, [2])


def test_a_write_that_tried_nothing_gives_a_reason_to_wait() -> None:
    assert isinstance(sort_out(messages(2), Outcome(untried=[0, 1])).cause, Unavailable)


def test_a_message_that_would_circle_does_not_make_a_write_fail() -> None:
    assert not sort_out(messages(1), Outcome([Failure(0, WouldLoop("again"))])).failed


@pytest.mark.parametrize(
    "outcome",
    [
        None,
        [Failure(0, Rejected("no"))],
        Outcome([Failure(2, Rejected("no"))]),
        Outcome([Failure(-1, Rejected("no"))]),
        Outcome([Failure(cast("int", 0.5), Rejected("no"))]),
        Outcome([Failure(0, cast("Rejected", ValueError("no")))]),
        Outcome(untried=[2]),
        Outcome([Failure(0, Unavailable("no"))], untried=[0]),
    ],
)
def test_an_outcome_that_the_contract_does_not_know_is_a_bug(outcome: Any) -> None:
    with pytest.raises(TypeError, match="write\\(\\) returned"):
        sort_out(messages(2), outcome)
