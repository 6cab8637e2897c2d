"""Values as a user writes them: defaults and examples of fields, from their JSON Schema."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from math import inf
from typing import Any, Final

import yaml

_SIZES: Final = (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024))
_TIMES: Final = (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1))

_PLAIN: Final = re.compile(r"[A-Za-z/][\w./:@-]*")
"""Texts that need no quotation marks, if YAML does not take them for something else."""


def written(value: Any, kind: str) -> str:
    """Return a value as it stands in the file: a size and a duration with their unit."""
    if kind == "size" and isinstance(value, int):
        return _scaled(value, _SIZES)
    if kind == "duration" and isinstance(value, int | float):
        return _scaled(value, _TIMES) if value >= 1 or not value else f"{value * 1000:g}ms"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + ", ".join(f'"{item}"' if isinstance(item, str) else str(item) for item in value) + "]"
    return str(value) if value != "" else '""'


def example(name: str, schema: Mapping[str, Any], kind: str, choices: Sequence[Mapping[str, Any]]) -> str:
    """Return an example of a field: the one that its model gives, or one that differs from the default.

    Args:
        name: of the field.
        schema: of the field.
        kind: its values in the words of the manual.
        choices: its alternatives.
    """
    if "examples" in schema:
        return _flow(schema["examples"][0])
    if kind == "secret text":
        return f"${{file:/run/secrets/{name}}}"
    default = schema.get("default")
    for choice in choices:
        options = choice.get("enum") or ([choice["const"]] if "const" in choice else [])
        if options:
            return _flow(next((option for option in options if option != default), options[0]))
        if choice.get("type") == "boolean":
            return written(not default, kind)
        if choice.get("items", {}).get("enum"):
            return _flow([choice["items"]["enum"][0]])
    if isinstance(default, int | float) and not isinstance(default, bool):
        return written(_larger(default, choices), kind)
    return ""


def _larger(default: float, choices: Sequence[Mapping[str, Any]]) -> float:
    """Return twice the default, or the highest value that is allowed."""
    twice = 2 * default or 1
    if any(twice >= choice.get("exclusiveMaximum", inf) for choice in choices):
        return default
    most: float = min(choice.get("maximum", inf) for choice in choices)
    return min(twice, most)


def _flow(value: Any) -> str:
    """Return a value in YAML's flow style, with `type` first in a mapping, and quotation marks where a reader expects them."""
    if isinstance(value, dict):
        pairs = sorted(value.items(), key=lambda pair: pair[0] != "type")
        return "{" + ", ".join(f"{_flow(name)}: {_flow(inner)}" for name, inner in pairs) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, str) and _PLAIN.fullmatch(value) and yaml.safe_load(value) == value:
        return value
    return json.dumps(value, ensure_ascii=False)


def _scaled(value: float, units: Sequence[tuple[str, int]]) -> str:
    for unit, factor in units:
        if value and value % factor == 0:
            return f"{value / factor:.15g}{unit}"
    return f"{value:.15g}"
