"""A file system that fails or dies at the n-th call, with half of a write done."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

CALLS = ("open", "write", "rename", "fsync", "ftruncate", "unlink", "mkdir")


class Crash(BaseException):
    """The process ends here: not an `Exception`, so that no handler cleans up after it."""


class Faults:
    """Counts calls and raises at one of them."""

    def __init__(self, at: int, error: BaseException) -> None:
        self.at = at
        self.error = error
        self.calls = 0

    @property
    def happened(self) -> bool:
        return self.calls >= self.at


@contextmanager
def fault(at: int, error: BaseException) -> Iterator[Faults]:
    """Raise `error` at the `at`-th call that changes a file system; a write completes half of its work first."""
    faults = Faults(at, error)

    def wrap(name: str, real: Any) -> Any:
        def call(*arguments: Any, **options: Any) -> Any:
            faults.calls += 1
            if faults.calls == at:
                if name == "write":
                    real(arguments[0], arguments[1][: len(arguments[1]) // 2])
                raise error
            return real(*arguments, **options)

        return call

    with pytest.MonkeyPatch.context() as patch:
        for name in CALLS:
            patch.setattr(os, name, wrap(name, getattr(os, name)))
        yield faults
