"""Commands of the command line, groups included, by their full name."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any


def walk(command: Any, name: str = "edgerouter") -> Iterator[tuple[str, Any]]:
    """Yield every command below another one, in the order of the help; hidden ones are left out."""
    for inner_name, inner in getattr(command, "commands", {}).items():
        if not inner.hidden:
            yield f"{name} {inner_name}", inner
            yield from walk(inner, f"{name} {inner_name}")
