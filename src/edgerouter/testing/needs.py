"""Selection of the tests that a service can take: what its suite declares as `unsupported` is not collected."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, ClassVar, TypeVar

from edgerouter.testing.server import DISTURBANCES

_Test = TypeVar("_Test", bound=Callable[..., Any])

LIMITS = frozenset({"max_bytes", "max_message_bytes"})
"""Limits of a sink that the suite tests at their edge."""
ABILITIES = DISTURBANCES | LIMITS | {"secrets"}
"""Names that `unsupported` of a sink may contain."""
OTHER_ABILITIES = frozenset({"acknowledged", "memory", "rotate"})
"""Names that `unsupported` of a source or a secret store may contain."""


def needs(*abilities: str) -> Callable[[_Test], _Test]:
    """Name what a test cannot do without; a suite that declares one of these as unsupported lacks the test."""
    assert set(abilities) <= ABILITIES | OTHER_ABILITIES, abilities

    def mark(test: _Test) -> _Test:
        vars(test)["needs"] = abilities
        return test

    return mark


class Selecting:
    """Replaces each test that a subclass cannot take by the declared reason, which pytest does not collect."""

    unsupported: ClassVar[Mapping[str, str]] = {}
    """Abilities that are missing here, with reasons: faults that the server cannot inject (methods of `SinkServer`), `max_bytes` or
    `max_message_bytes` if the sink has no such limit or one above `largest_test_bytes`, `secrets` if the configuration holds none.
    Tests that need one of these are not collected."""

    def __init_subclass__(cls, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        for name, test in _tests_with_needs(cls):
            reasons = [cls.unsupported[ability] for ability in test.needs if ability in cls.unsupported]
            # a subclass of a suite may support what that suite did not: then the test comes back
            setattr(cls, name, reasons[0] if reasons else test)


def _tests_with_needs(cls: type) -> Iterator[tuple[str, Any]]:
    for name in dir(cls):
        test = next(filter(callable, (vars(each).get(name) for each in cls.__mro__)), None)
        if hasattr(test, "needs"):
            yield name, test
