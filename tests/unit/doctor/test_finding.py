"""A finding is masked, bounded and harmless to a terminal, whatever a broker or a service says."""

from __future__ import annotations

from edgerouter.doctor.finding import finding, has_failed
from edgerouter.masking import protect


def test_a_finding_shows_no_secret_and_no_control_character() -> None:
    protect("hunter2hunter2")

    found = finding("broker", "x\x1b[31m", "warn", "the broker says hunter2hunter2\x07", "set \u202ename")

    assert found.name == "x\\x1b[31m"
    assert found.evidence == "the broker says ***\\x07"
    assert found.change == "set \\u202ename"


def test_a_finding_is_bounded() -> None:
    assert len(finding("broker", "x", "ok", "y" * 100_000).evidence) < 1100


def test_only_a_failure_fails() -> None:
    assert not has_failed([finding("a", "b", verdict, "") for verdict in ("ok", "warn", "unknown")])
    assert has_failed([finding("a", "b", "fail", "")])
