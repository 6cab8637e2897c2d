"""Fixtures of every test of the router and of its plugins, and the measurement of what they execute."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import support.measuring

support.measuring.start(pytest=True)

from edgerouter.masking import forget_all  # noqa: E402  (the measurement starts before the first module)


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """Forget secrets after each test: they are masked for the rest of a process, and all tests share one."""
    yield
    forget_all()


def pytest_runtest_logfinish() -> None:
    """Make the lines seen by the test cost nothing from now on."""
    support.measuring.clear()


def pytest_unconfigure() -> None:
    """Write what this process has executed."""
    support.measuring.write()
