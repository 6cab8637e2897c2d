"""Fixtures of every test of the router and of its plugins."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from edgerouter.masking import forget_all


@pytest.fixture(autouse=True)
def _no_secrets_of_other_tests() -> Iterator[None]:
    """Forget secrets after each test: they are masked for the rest of a process, and all tests share one."""
    yield
    forget_all()
