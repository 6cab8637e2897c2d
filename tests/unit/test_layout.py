"""Every module has a test file in its place, or is named in the docstring of the test file that exercises it.

`src/edgerouter/a/b.py` is tested in `tests/unit/a/test_b.py`, and a module of a plugin in the plugin's `tests`. A test file that
exercises more modules names them in its docstring after `Covers also:`. One that stands for a behaviour, and has no module in its
place, names what it exercises after `Covers:`: modules by their dotted path, or files and folders of the repository.

Covers: src, tests, plugins.
"""

from __future__ import annotations

import re
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCSTRING = re.compile(r'"""(.*?)\s*"""', re.DOTALL)
COVERS = re.compile(r"^Covers(?: also)?: (.+?)\.?$(?=\n\n|\Z)", re.MULTILINE | re.DOTALL)
TREES = {
    ROOT / "src/edgerouter": ROOT / "tests/unit",
    **{package.parent: package.parents[2] / "tests" for package in ROOT.glob("plugins/*/src/*/__init__.py")},
}
"""Packages, and the folder that mirrors each."""
MOST_LINES = 300
"""Longest file that a reader keeps in mind."""
MOST_LINES_OF_A_CONTRACT = 150
"""Longest contract that an author of a plugin reads on one screen."""
CONTRACTS = ("sink.py", "source.py", "step.py", "secrets.py", "spool/contract.py")
TESTS = sorted([*ROOT.glob("tests/**/test_*.py"), *ROOT.glob("plugins/*/tests/**/test_*.py")])


def modules(package: Path) -> dict[str, Path]:
    """Modules of a package by dotted path, each with its place among the tests."""
    files = [file.relative_to(package) for file in package.rglob("*.py") if file.name != "__init__.py"]
    mirror = TREES[package]
    return {
        ".".join([package.name, *file.with_suffix("").parts]): mirror / file.parent / f"test_{file.name}" for file in sorted(files)
    }


MODULES = {name: test for package in TREES for name, test in modules(package).items()}


def lines_of(file: Path) -> int:
    """Lines of a file, with its blank ones."""
    return len(file.read_text().splitlines())


@cache
def covered(test: Path) -> list[str]:
    """Modules and paths that the docstring of a test file names."""
    docstring = DOCSTRING.match(test.read_text())
    return [name for match in COVERS.finditer(docstring[1] if docstring else "") for name in re.split(r",\s+", match[1])]


def test_every_module_has_its_test_or_is_named_in_the_one_that_exercises_it() -> None:
    named = {name for test in TESTS for name in covered(test)}
    without = [name for name, test in MODULES.items() if name not in named and not test.exists()]
    assert not without, "add a test file in its place, or the line `Covers also:` to the docstring of the test that exercises it"


def test_every_unit_test_stands_in_the_place_of_its_module_or_says_what_it_covers() -> None:
    places = set(MODULES.values())
    mirrors = tuple(TREES.values())
    stray = [
        test.relative_to(ROOT)
        for test in TESTS
        if any(test.is_relative_to(mirror) for mirror in mirrors) and test not in places and not covered(test)
    ]
    assert not stray, "no module has this name: move the test, or add the line `Covers:` to its docstring"


def test_what_a_docstring_names_is_there() -> None:
    places = {*MODULES, *(name for test in TESTS for name in covered(test) if (ROOT / name).exists())}
    gone = [f"{test.relative_to(ROOT)}: {name}" for test in TESTS for name in covered(test) if name not in places]
    assert not gone


def test_no_file_is_too_long_to_keep_in_mind() -> None:
    files = [file for tree in ("src", "tests", "plugins") for file in ROOT.glob(f"{tree}/**/*.py")]
    assert {str(file.relative_to(ROOT)): lines for file in files if (lines := lines_of(file)) > MOST_LINES} == {}


def test_a_contract_fits_on_a_screen() -> None:
    lengths = {name: lines_of(ROOT / "src/edgerouter" / name) for name in CONTRACTS}
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_CONTRACT} == {}, (
        "move the rest into a module beside it"
    )
