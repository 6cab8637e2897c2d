"""The public names of edgerouter stand on one page, and plugins import nothing else.

Covers: src/edgerouter/__init__.py, docs/reference/plugin-api.md, plugins, docs/examples, examples.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import pytest

import edgerouter

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/reference/plugin-api.md").read_text()
FIRST_PARTY = ROOT / "plugins/edgerouter-nats/src/edgerouter_nats/spool"
"""Built on the log that all spools share, and released with it: docs/decisions/044-spool-beside-the-core.md."""
PLUGINS = sorted(
    file
    for pattern in ("plugins/*/src/**/*.py", "docs/examples/**/*.py", "examples/**/*.py")
    for file in ROOT.glob(pattern)
    if not {".venv", "build"} & set(file.parts) and not file.is_relative_to(FIRST_PARTY)
)


def documented() -> dict[str, set[str]]:
    """Names by module, as the page lists them."""
    modules: dict[str, set[str]] = {}
    for module, section in re.findall(r"^## `([\w.]+)`\n(.*?)(?=^## |\Z)", PAGE, re.MULTILINE | re.DOTALL):
        rows = [line.split("|")[1] for line in section.splitlines() if line.startswith("| `")]
        modules[module] = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    return modules


@pytest.mark.parametrize("module", documented())
def test_the_page_lists_exactly_what_a_module_exports(module: str) -> None:
    exported = import_module(module).__all__
    assert documented()[module] == set(exported)
    assert len(set(exported)) == len(exported)


def test_a_name_that_goes_warns_its_user_and_works_as_before(monkeypatch: pytest.MonkeyPatch) -> None:
    """The warning stands at the import, and names the new name and the version without the old one."""
    monkeypatch.setattr("edgerouter.RENAMED", {"Outlet": ("Sink", "0.3")})
    with pytest.warns(DeprecationWarning, match=r"edgerouter.Outlet is now edgerouter.Sink; edgerouter 0.3 will not") as warned:
        from edgerouter import Outlet
    assert Outlet is edgerouter.Sink
    assert warned[0].filename == __file__


def imports(file: Path) -> Iterator[tuple[str, str]]:
    """Module and name of everything that a file imports of edgerouter."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "edgerouter":
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names if alias.name.split(".")[0] == "edgerouter")


@pytest.mark.parametrize("file", PLUGINS, ids=lambda file: str(file.relative_to(ROOT)))
def test_a_plugin_imports_public_names_only(file: Path) -> None:
    public = documented()
    private = [(module, name) for module, name in imports(file) if name not in public.get(module, set())]
    assert not private, f"add the name to docs/reference/plugin-api.md and to its module's __all__, or do without: {private}"
