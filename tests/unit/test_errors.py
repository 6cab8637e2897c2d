"""Each error states the reaction of the router."""

from __future__ import annotations

import pytest

from edgerouter import Throttled


@pytest.mark.parametrize(
    ("asked", "counts"), [(None, None), (0.5, 0.5), (-3, 0), (float("nan"), None), (float("inf"), 3600), (1e12, 3600)]
)
def test_no_service_silences_a_sink_for_longer_than_an_hour(asked: float | None, counts: float | None) -> None:
    """A date read with a clock in 1970 asks for decades."""
    assert Throttled("busy", retry_after=asked).retry_after == counts
