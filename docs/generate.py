"""Write docs/configuration.md from the JSON Schema of `edgerouter schema`: the manual of every field, as its model tells it."""  # noqa: INP001  (a script)

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

Schema = Mapping[str, Any]

HEAD = """\
# Configuration

Made from the models by `make docs`; every field of the core and of the plugins in this repository.

One YAML file. Any value can also come from the environment: `EDGEROUTER__SPOOL__MAX_BYTES=2GiB` sets `spool.max_bytes`.
A value may be a reference: `${env:NAME}`, `${file:/run/secrets/x}`, or `${store:name}` for a configured secret store.
Unknown keys are errors. `edgerouter check` tells every mistake at once.

A *size* is a number of bytes or text such as `512KiB`, `2GiB`.
A *duration* is a number of seconds or text such as `200ms`, `5m`, `1h30m`.
"""
KINDS = {"source": "Sources", "sink": "Sinks", "secret_store": "Secret stores"}
POLICIES = "SinkPolicies"


class Manual:
    """The schema's definitions as Markdown."""

    def __init__(self, schema: Schema) -> None:
        self._schema = schema
        self._definitions: Mapping[str, Schema] = schema["$defs"]

    def write(self) -> Iterator[str]:
        """The whole page, a block at a time."""
        yield HEAD
        for key, section in self._schema["properties"].items():
            if reference := _reference(section):
                yield f"## `{key}`\n\n{section.get('description', '')}\n"
                yield from self._fields(self._definitions[reference])
            elif "oneOf" not in section.get("additionalProperties", {}):
                yield f"## `{key}`\n\n{section.get('description', '')}\n"
        yield "## Every sink\n\nWhatever its `type`, beside the fields of that type.\n"
        yield from self._fields(self._definitions[POLICIES])
        for kind, title in KINDS.items():
            types = [name for name in self._definitions if name.startswith(f"{kind}:")]
            if types:
                yield f"## {title}\n"
            for name in types:
                yield f"### `type: {name.partition(':')[2]}`\n"
                yield from self._plugin(self._definitions[name])

    def _plugin(self, definition: Schema) -> Iterator[str]:
        policies = self._definitions[POLICIES]["properties"]
        own = {name: field for name, field in definition["properties"].items() if name != "type" and name not in policies}
        if description := definition.get("description"):
            yield f"{_text(description)}\n"
        yield from self._fields({**definition, "properties": own})

    def _fields(self, definition: Schema) -> Iterator[str]:
        rows = list(self._rows(definition, ""))
        if rows:
            yield "| field | value | default | |\n|---|---|---|---|\n" + "\n".join(rows) + "\n"

    def _rows(self, definition: Schema, prefix: str) -> Iterator[str]:
        required = definition.get("required", ())
        for name, field in definition["properties"].items():
            path = prefix + name
            nested = [self._definitions[reference] for reference in self._references(field)]
            inner = [section for section in nested if "properties" in section]
            default = "required" if name in required else "" if inner else _default(field)
            kind = "section" if inner and not self._is_list(field) else self._kind(field)
            yield f"| `{path}` | {kind} | {default} | {_text(field.get('description', ''))} |"
            for section in inner:
                yield from self._rows(section, f"{path}[]." if self._is_list(field) else f"{path}.")

    def _references(self, field: Schema) -> Iterator[str]:
        for option in _options(field):
            target = _reference(option) or _reference(option.get("items", {}))
            if target is None and "items" in option:
                target = next((found for inner in _options(option["items"]) if (found := _reference(inner))), None)
            if target is not None and target != "reference":
                yield target

    @staticmethod
    def _is_list(field: Schema) -> bool:
        return any(option.get("type") == "array" for option in _options(field))

    def _kind(self, field: Schema) -> str:
        if quantity := _quantity(field):
            return quantity
        kinds = [_value(option) for option in _options(field) if _reference(option) != "reference" and option.get("type") != "null"]
        return " or ".join(dict.fromkeys(kind for kind in kinds if kind))


def _options(field: Schema) -> list[Schema]:
    """What a field may be; a choice inside a choice is one choice."""
    choices: list[Schema] = field.get("anyOf") or field.get("oneOf") or field.get("allOf") or []
    return [option for choice in choices for option in _options(choice)] if choices else [field]


def _reference(field: Schema) -> str | None:
    target: str | None = field.get("$ref")
    return target.rpartition("/")[2] if target else None


def _value(option: Schema) -> str:
    if "enum" in option:
        return ", ".join(f"`{value}`" for value in option["enum"])
    if "const" in option:
        return f"`{option['const']}`"
    if option.get("type") == "array":
        return "list"
    if option.get("type") == "object":
        return "map"
    if examples := option.get("examples"):
        return "text such as " + ", ".join(f"`{example}`" for example in examples)
    names = {"string": "text", "boolean": "`true` or `false`"}
    kind = option.get("type", "")
    return names.get(kind, kind) if isinstance(kind, str) else " or ".join(names.get(name, name) for name in kind)


def _quantity(field: Schema) -> str:
    """Whether a field is a size or a duration, which both have two forms and are told by their examples."""
    examples = {example for option in _options(field) for example in option.get("examples", ())}
    return "size" if "2GiB" in examples else "duration" if "200ms" in examples else ""


def _default(field: Schema) -> str:
    if "default" not in field or field["default"] is None:
        return ""
    match _quantity(field):
        case "size":
            return f"`{_size(field['default'])}`"
        case "duration":
            return f"`{_duration(field['default'])}`"
    return f"`{json.dumps(field['default'], ensure_ascii=False)}`"


def _size(value: int) -> str:
    for unit, factor in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if value and value % factor == 0:
            return f"{value // factor}{unit}"
    return str(value)


def _duration(value: float) -> str:
    for unit, factor in (("d", 86_400), ("h", 3600), ("m", 60)):
        if value and value % factor == 0:
            return f"{value // factor:g}{unit}"
    return f"{value:g}s" if value >= 1 or not value else f"{value * 1000:g}ms"


def _text(description: str) -> str:
    """One paragraph that fits into a cell of a table."""
    return re.sub(r"\s+", " ", description).strip().replace("|", "\\|")


if __name__ == "__main__":
    page = "\n".join(Manual(json.load(sys.stdin)).write())
    Path(__file__).with_name("configuration.md").write_text(page)
