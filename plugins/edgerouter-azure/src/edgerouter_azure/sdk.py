"""The SDK is imported when something of it is opened: `check` and `schema` need none of its 300 ms and 40 MB."""

from __future__ import annotations

import asyncio
import sys
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.abc import MetaPathFinder
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from importlib.machinery import ModuleSpec
    from types import ModuleType

GUESSERS: Final = frozenset({"chardet", "charset_normalizer"})
"""Packages by which `requests` guesses the character set of a text: 4 MB. azure-storage-blob imports `requests`, and no client of
ours sends a request by it. Where azure-core has to guess, it imports them then."""


async def load(*names: str) -> None:
    """Import modules in a thread, so that the event loop goes on meanwhile.

    Args:
        names: `package.module`, or `package.module:name` where a module imports more with the name.
    """
    for name in names:
        module, _, attribute = name.partition(":")
        if module not in sys.modules or attribute:
            await asyncio.to_thread(_load, module, attribute)


def _load(module: str, attribute: str) -> None:
    loaded = _import(module)
    if attribute:
        getattr(loaded, attribute)


def _import(module: str) -> ModuleType:
    try:
        with without_guessers():
            return import_module(module)
    except ImportError:  # an older `requests` does not do without
        return import_module(module)


class _Hiding(MetaPathFinder):
    """Hides packages from what one thread imports; another thread that needs one meanwhile gets it."""

    def __init__(self, names: frozenset[str]) -> None:
        self._names, self._thread = names, threading.get_ident()

    def find_spec(self, fullname: str, _path: Sequence[str] | None, _target: ModuleType | None = None, /) -> ModuleSpec | None:
        if fullname in self._names and threading.get_ident() == self._thread:
            raise ModuleNotFoundError(f"{fullname} is left out", name=fullname)
        return None


@contextmanager
def without_guessers() -> Iterator[None]:
    """Hide `GUESSERS` from what this thread imports meanwhile."""
    warnings.filterwarnings("ignore", message="Unable to find acceptable character detection")  # says `requests`
    hiding = _Hiding(GUESSERS)
    sys.meta_path.insert(0, hiding)
    try:
        yield
    finally:
        sys.meta_path.remove(hiding)
