"""A service that refuses connections is tried again soon, in proportion to how long it has been away."""

from __future__ import annotations

import errno
import socket

import pytest

from edgerouter.errors import Unavailable
from edgerouter.tasks.outage import is_unreachable, longest_delay


def raised_from(cause: BaseException, *, told: bool = True) -> Unavailable:
    """Return the error of a sink that the cause led to; `told` if the sink named it."""
    try:
        try:
            raise cause
        except type(cause) as error:
            raise Unavailable("cannot be reached") from (error if told else None)
    except Unavailable as error:
        return error


@pytest.mark.parametrize(
    "cause",
    [
        ConnectionRefusedError(errno.ECONNREFUSED, "refused"),
        OSError(errno.EHOSTUNREACH, "no route to host"),
        OSError(errno.ENETUNREACH, "network is unreachable"),
        socket.gaierror(socket.EAI_AGAIN, "temporary failure in name resolution"),
    ],
)
@pytest.mark.parametrize("told", [True, False])
def test_no_connection_is_recognised_by_the_error_of_the_system_beneath(cause: OSError, told: bool) -> None:
    assert is_unreachable(raised_from(cause, told=told))


@pytest.mark.parametrize(
    "cause", [ConnectionResetError(errno.ECONNRESET, "reset"), TimeoutError(), OSError(errno.ENOSPC, "full"), ValueError()]
)
def test_what_may_have_arrived_and_what_is_wrong_here_is_not_an_outage(cause: Exception) -> None:
    assert not is_unreachable(raised_from(cause))


def test_errors_that_are_each_others_cause_end_the_search() -> None:
    one, other = Unavailable("one"), Unavailable("other")
    one.__cause__, other.__cause__ = other, one

    assert not is_unreachable(one)


def test_a_short_outage_is_noticed_within_seconds_and_a_long_one_within_a_tenth_of_it() -> None:
    refused = raised_from(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))

    assert longest_delay(refused, 1.0, 60.0) == 2.0
    assert longest_delay(refused, 20.0, 60.0) == 2.0
    assert longest_delay(refused, 300.0, 60.0) == 30.0
    assert longest_delay(refused, 86_400.0, 60.0) == 60.0


def test_a_lower_bound_of_the_user_holds() -> None:
    refused = raised_from(ConnectionRefusedError(errno.ECONNREFUSED, "refused"))

    assert longest_delay(refused, 20.0, 0.5) == 0.5


def test_a_service_that_answers_is_given_the_time_that_the_user_says() -> None:
    assert longest_delay(Unavailable("503"), 20.0, 60.0) == 60.0
