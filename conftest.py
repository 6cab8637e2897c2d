"""Fixtures of every test of the router and of its plugins, and the measurement of what they execute."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
import structlog

import support.measuring

support.measuring.start(pytest=True)

from edgerouter.config import digest  # noqa: E402  (the measurement starts before the first module)
from edgerouter.masking import forget_all  # noqa: E402

if TYPE_CHECKING:
    from support.azure.azurite import Azurite

# without it structlog draws each traceback with rich and all local variables, which takes 200 ms
_PLAIN = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
setattr(digest, "ROUNDS", 1)  # noqa: B010  (a constant; tests load thousands of configurations)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _PLAIN])


@pytest.fixture(scope="session")
def azurite() -> Iterator[Azurite]:
    """Blob Storage, one for each worker: it starts in two to three seconds, and each test has a container in it."""
    from support.azure.azurite import running_azurite  # noqa: PLC0415  (the SDK is imported where a test needs it)

    with running_azurite() as running:
        yield running


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
