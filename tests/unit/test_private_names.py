"""Tests use public names, so that a refactoring which keeps every promise breaks no test.

A folder may hold as many reaches into the private names of others as `REMAINING` allows, and never more.

Covers: tests, plugins.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
TESTS = [*(ROOT / "tests").rglob("*.py"), *ROOT.glob("plugins/*/tests/**/*.py")]
PUBLIC_ALL_THE_SAME = {"_asdict", "_exit", "_fields", "_make", "_replace"}
"""Documented names of the standard library."""


class Remaining(NamedTuple):
    """Most reaches that a folder may still hold, with the reason."""

    most: int
    reason: str


REMAINING: dict[str, Remaining] = {
    "tests/support/": Remaining(
        3, "aiohttp's low-level server has no public limit; a spool's thread writes the files, and repairs them"
    ),
    "tests/unit/mqtt/": Remaining(5, "checks that paho still has the private names of docs/decisions/002"),
    "tests/unit/spool/": Remaining(5, "damages the database of an open spool, and watches the repair"),
    "plugins/edgerouter-aws/tests/": Remaining(6, "replaces what the SDK and its fake do not offer"),
    "plugins/edgerouter-azure/tests/": Remaining(15, "checks that the SDK still has the private names that the sink uses"),
    "plugins/edgerouter-gcp/tests/": Remaining(5, "looks at the timing of leases and tokens"),
}
"""Folders by path prefix; the numbers only ever fall."""


def is_private(name: str) -> bool:
    """Return True for a name with one leading underscore."""
    return name.startswith("_") and not name.startswith("__") and name != "_" and name not in PUBLIC_ALL_THE_SAME


def defined_in(tree: ast.Module) -> set[str]:
    """Return the names that a module gives to its functions, classes and their attributes."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            found.add(node.name)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            found.add(node.id)
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store) and is_own(node.value):
            found.add(node.attr)
    return found


def is_own(value: ast.expr) -> bool:
    """Return True for `self`, `cls` and `super()`, whose private names a class may use."""
    if isinstance(value, ast.Call):
        return isinstance(value.func, ast.Name) and value.func.id == "super"
    return isinstance(value, ast.Name) and value.id in {"self", "cls"}


def called(node: ast.Call) -> str:
    """Return the last name of what is called."""
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def names_of_others(node: ast.AST) -> list[str]:
    """Return the names by which a node reaches into something else: an attribute, an import, or a text that says what to patch."""
    if isinstance(node, ast.Attribute) and not is_own(node.value):
        return [node.attr]
    if isinstance(node, ast.ImportFrom):
        return [*(node.module or "").split("."), *(each.name for each in node.names)]
    if isinstance(node, ast.Call) and called(node) in {"setattr", "delattr", "getattr", "hasattr"}:
        texts = [each.value for each in node.args[:2] if isinstance(each, ast.Constant)]
        return [part for text in texts if isinstance(text, str) for part in text.split(".")]
    return []


def reaches(source: str) -> Iterator[tuple[int, str]]:
    """Yield line and name of every reach into the private names of others."""
    tree = ast.parse(source)
    own = defined_in(tree)
    for node in ast.walk(tree):
        private = [name for name in names_of_others(node) if is_private(name) and name not in own]
        if private and isinstance(node, ast.expr | ast.stmt):
            yield node.lineno, private[0]


@functools.cache
def found() -> tuple[str, ...]:
    """Return every reach in the tests of the repository."""
    lines = [f"{path.relative_to(ROOT)}:{line}: {name}" for path in TESTS for line, name in reaches(path.read_text())]
    return tuple(sorted(lines))


def test_tests_use_public_names() -> None:
    assert [line for line in found() if not line.startswith(tuple(REMAINING))] == []


@pytest.mark.parametrize("folder", REMAINING)
def test_a_folder_that_still_reaches_in_does_so_no_more_often(folder: str) -> None:
    lines = [line for line in found() if line.startswith(folder)]
    assert len(lines) <= REMAINING[folder].most, REMAINING[folder].reason + ":\n" + "\n".join(lines)


# The search itself


@pytest.mark.parametrize(
    "source",
    [
        "spool._thread.stop()",
        "from edgerouter.spool import _thread",
        "from edgerouter._thread import stop",
        "def test(monkeypatch):\n    monkeypatch.setattr('edgerouter.spool._thread', None)",
        "def test(monkeypatch):\n    monkeypatch.setattr(spool, '_thread', None)",
        "class A:\n    def f(self):\n        return self.spool._thread",
    ],
)
def test_a_private_name_of_another_is_found(source: str) -> None:
    assert [name for _, name in reaches(source)] == ["_thread"]


@pytest.mark.parametrize(
    "source",
    [
        "class A:\n    def _f(self): ...\ndef g(a):\n    a._f()",
        "class A(B):\n    def f(self):\n        super()._f(self._g)",
        "point._replace(x=1)",
        "sink.__class__",
    ],
)
def test_a_module_may_use_its_own_private_names(source: str) -> None:
    assert list(reaches(source)) == []
