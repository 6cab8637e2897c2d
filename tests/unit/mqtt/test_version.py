"""Choice of the version of MQTT: the newest that the broker is known to answer to."""

from __future__ import annotations

import pytest

from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.version import VersionChoice

SILENCE = ConnectFailed("closed instead of answering", unanswered=True)
REFUSED_VERSION = ConnectFailed("unsupported", code=132, version_refused=True)
REFUSED = ConnectFailed("bad password", code=134)
UNREACHABLE = ConnectFailed("Connection refused")


def test_a_version_that_the_broker_refuses_gives_way_to_the_other_at_once() -> None:
    choice = VersionChoice("auto", "", patient=True)

    assert choice.failed(REFUSED_VERSION)
    assert choice.version == "3.1.1"


@pytest.mark.parametrize(("patient", "silences"), [(False, 1), (True, 2)])
def test_silence_gives_way_to_the_older_version(patient: bool, silences: int) -> None:
    choice = VersionChoice("auto", "", patient=patient)

    assert [choice.failed(SILENCE) for _ in range(silences)] == [False] * (silences - 1) + [True]
    assert choice.version == "3.1.1"


def test_a_broker_that_answered_to_version_5_is_not_asked_for_the_older_one_because_it_is_silent() -> None:
    choice = VersionChoice("auto", "", patient=False)
    choice.connected()

    assert not choice.failed(SILENCE)
    assert (choice.version, choice.known) == ("5", "5")


@pytest.mark.parametrize("failure", [SILENCE, UNREACHABLE])
def test_a_broker_that_does_not_answer_to_the_older_version_either_is_asked_for_version_5_next(failure: ConnectFailed) -> None:
    """A broker that restarts is silent at first and then unreachable; it may well speak version 5."""
    choice = VersionChoice("auto", "", patient=False)
    choice.failed(SILENCE)

    assert not choice.failed(failure)
    assert choice.version == "5"


def test_a_refusal_for_another_reason_shows_that_the_broker_speaks_the_version() -> None:
    choice = VersionChoice("auto", "", patient=False)
    choice.failed(SILENCE)

    assert not choice.failed(REFUSED)
    assert (choice.version, choice.known) == ("3.1.1", "3.1.1")


def test_a_connection_that_fails_before_the_connect_says_nothing_about_the_version() -> None:
    choice = VersionChoice("auto", "", patient=False)

    assert not choice.failed(ConnectFailed("TLS: certificate verify failed"))
    assert choice.version == "5"


@pytest.mark.parametrize("configured", ["5", "3.1.1"])
def test_a_configured_version_is_kept(configured: str) -> None:
    choice = VersionChoice(configured, "", patient=False)  # type: ignore[arg-type]  # of the parameters

    assert not choice.failed(REFUSED_VERSION)
    assert choice.version == configured
