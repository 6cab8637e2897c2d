"""The step keeps every promise of the conformance suite, and its bounds."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edgerouter_clamp import ClampStep

from edgerouter.testing import StepConformance


class TestClampStep(StepConformance):
    step_class = ClampStep
    config: ClassVar[Mapping[str, Any]] = {"field": "temperature", "most": 150}
    samples = (b'{"temperature": 21.5}', b'{"temperature": 1000}')


def test_a_number_out_of_bounds_becomes_the_bound() -> None:
    """The one below is left as it was sent."""
    bench = TestClampStep().bench()
    results = bench.results(TestClampStep().repeated()[:2], at_once=2)
    assert [result.payload for result in results] == [b'{"temperature": 21.5}', b'{"temperature":150.0}']
