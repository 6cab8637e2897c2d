"""The architecture page is the tree: its drawing has the layers that the linter proves, its table every package and its purpose.

Covers: docs/explanation/architecture.md.
"""

from __future__ import annotations

import ast
import re
import tomllib
from pathlib import Path

FUNCTIONS = ast.FunctionDef | ast.AsyncFunctionDef
ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "explanation" / "architecture.md").read_text()
CORE = ROOT / "src" / "edgerouter"
PLUGINS = {path.parents[2].name: path.parent for path in ROOT.glob("plugins/*/src/edgerouter_*/__init__.py")}


def section(title: str) -> str:
    """The text below a heading, up to the next one."""
    return PAGE.split(f"## {title}\n")[1].split("\n## ")[0]


def drawn_layers() -> list[set[str]]:
    """The names on each line of the drawing: packages, and modules by their file."""
    drawing = section("Layers").split("```")[1].strip("\n").splitlines()
    return [set(re.split(r" {5,}", line.strip())[0].split()) for line in drawing]


def rooms() -> dict[str, str]:
    """Packages by path, with the sentence of the table."""
    return dict(re.findall(r"^\| `([\w/-]+)` \| (.+) \|$", section("Rooms"), re.MULTILINE))


def packages() -> dict[str, str]:
    """Every package below the core and the plugins by path, with the first sentence of its docstring."""
    found = {}
    for name, top in {"": CORE, **PLUGINS}.items():
        for init in sorted(top.rglob("__init__.py")):
            path = str(Path(name) / init.parent.relative_to(top)) if name else str(init.parent.relative_to(CORE))
            docstring = ast.get_docstring(ast.parse(init.read_text())) or ""
            found[path] = docstring.partition("\n")[0].rstrip(".")
    del found["."]
    return found


def test_the_drawing_has_the_layers_that_the_linter_proves() -> None:
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    as_drawn = [
        {name + ("" if (CORE / name).is_dir() else ".py") for name in re.findall(r"edgerouter\.(\w+)", layer)} for layer in layers
    ]
    assert drawn_layers() == as_drawn


def test_the_drawing_names_every_package_and_module_at_the_top() -> None:
    drawn = set().union(*drawn_layers())
    there = {path.parent.name for path in CORE.glob("*/__init__.py")}
    there |= {path.name for path in CORE.glob("*.py") if path.name != "__init__.py"}
    assert drawn == there


def test_the_table_of_rooms_names_every_package_with_its_own_sentence() -> None:
    assert rooms() == packages()


def defined(path: str) -> set[str]:
    """Names of the functions and classes of a module."""
    tree = ast.parse((CORE / path).read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, FUNCTIONS | ast.ClassDef)}


def test_each_question_leads_to_names_that_are_where_the_table_says() -> None:
    rows = re.findall(
        r"^\| (.+\?) \| \[([\w/]+\.py)\]\S+ \| (.+) \| \[([\w/]+\.py)\]\S+ ?(.*) \|$", section("Where is it decided?"), re.MULTILINE
    )
    assert len(rows) == 20
    for question, begin, because, then, last in rows:
        for path, text in ((begin, because), (then, last)):
            names = set(re.findall(r"`(\w+)`", text))
            assert names <= defined(path), f"{question} {path}"


def test_the_walk_of_a_message_enters_at_most_twelve_files_and_names_what_is_there() -> None:
    page = (ROOT / "docs" / "explanation" / "a-message-walks.md").read_text()
    steps = re.findall(r"^\| \d+ \| \[([\w/]+\.py)\].*\| ([^|]+) \|$", page, re.MULTILINE)
    assert 10 <= len(steps) <= 12
    for path, names in steps:
        assert set(re.findall(r"`(\w+)`", names)) <= defined(path), path
