"""Pages of the documentation: their links, anchors and blocks of code, and the commands that they may name."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from edgerouter.cli.main import app

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*ROOT.glob("*.md"), *DOCS.rglob("*.md"), *ROOT.glob("plugins/*/README.md")])
CODE = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w*)\n(?P<text>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL)


def links(page: Path) -> Iterator[str]:
    """Yield relative links, outside of code."""
    for target in _LINK.findall(CODE.sub("", page.read_text())):
        if not re.match(r"[a-z]+:", target):
            yield target


def anchors(page: Path) -> set[str]:
    """Return the fragments of a page's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def blocks(page: Path, language: str) -> list[str]:
    """Return the blocks of code in a language."""
    return [match["text"] for match in _BLOCK.finditer(page.read_text()) if match["language"] == language]


def commands() -> Iterator[tuple[str, list[str]]]:
    """Every command, and the options that it has."""

    def walk(command: Any, path: str) -> Iterator[tuple[str, list[str]]]:
        shown = {name: inner for name, inner in getattr(command, "commands", {}).items() if not inner.hidden}
        for name, inner in shown.items():
            yield from walk(inner, f"{path} {name}".strip())
        if path and not getattr(command, "commands", {}):
            yield path, [option for parameter in command.params for option in parameter.opts if option.startswith("-")]

    yield from walk(typer.main.get_command(app), "")
