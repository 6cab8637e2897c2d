"""A suite has the tests that its service can take, and no others."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from edgerouter.testing import SinkConformance

LACKING = {
    "test_a_throttled_sink_says_so_and_for_how_long": "it never is busy",
    "test_as_many_bytes_as_the_limit_allows_are_delivered": "it has no such limit",
}


class Lacking(SinkConformance):
    unsupported: ClassVar[Mapping[str, str]] = {"throttle": "it never is busy", "max_bytes": "it has no such limit"}


def collected_from(suite: type) -> set[str]:
    return {name for name in dir(suite) if name.startswith("test_") and callable(getattr(suite, name))}


def test_a_suite_lacks_the_tests_of_what_it_declares_as_unsupported_and_says_why() -> None:
    assert collected_from(SinkConformance) - collected_from(Lacking) == LACKING.keys()
    assert {name: getattr(Lacking, name) for name in LACKING} == LACKING


def test_a_subclass_that_supports_more_has_its_tests_again() -> None:
    class Able(Lacking):
        unsupported: ClassVar[Mapping[str, str]] = {}

    assert collected_from(Able) == collected_from(SinkConformance)


def test_a_suites_own_test_in_place_of_the_kits_stays() -> None:
    class Own(Lacking):
        async def test_a_throttled_sink_says_so_and_for_how_long(self, *_: Any) -> None:
            """Throttle in another way."""

    assert collected_from(Own) - collected_from(Lacking) == {"test_a_throttled_sink_says_so_and_for_how_long"}
