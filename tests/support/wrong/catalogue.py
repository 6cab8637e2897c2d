"""Wrong plugins, each with the test of the conformance suite that fails it, and what that test says."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import pytest


@dataclass(frozen=True, slots=True)
class Wrong:
    """A plugin that breaks one promise; its docstring says how."""

    kind: str
    """Such as `sink` or `secret store`."""
    plugin: type[Any]
    test: str
    """Name of the test that fails."""
    says: str
    """Part of the failure's message, which names the cure."""

    @property
    def fault(self) -> str:
        """The first line of the plugin's docstring."""
        return str(self.plugin.__doc__).partition("\n")[0].rstrip(".")


WRONG: Final[list[Wrong]] = []
_Plugin = TypeVar("_Plugin", bound=type[Any])


def wrong(kind: str, test: str, says: str) -> Callable[[_Plugin], _Plugin]:
    """Add a plugin to the catalogue."""

    def add(plugin: _Plugin) -> _Plugin:
        WRONG.append(Wrong(kind, plugin, test, says))
        return plugin

    return add


def of(kind: str) -> list[Wrong]:
    """Return the wrong plugins of a kind."""
    return [each for each in WRONG if each.kind == kind]


_TRIES: Final = {"test_the_event_loop_is_never_held_up": 5}
"""Number of tries of a test: Linux from 6.12 on may count the sleep of a thread as time for which it waited for a processor."""


async def fails(each: Wrong, test: Callable[[], Awaitable[None]]) -> None:
    """Run the test that a wrong plugin fails, which must say what the catalogue says."""
    said = ""
    for _ in range(_TRIES.get(each.test, 1)):
        try:
            await test()
        except (AssertionError, pytest.fail.Exception) as error:
            said = str(error)
            break
    assert each.says in said, said or f"{each.plugin.__name__} is not caught"
