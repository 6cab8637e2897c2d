"""Write the configuration manual, as Markdown, from the description of every field."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, Final

import yaml
from pydantic import BaseModel

from edgerouter.config.describe.schema import Quietly
from edgerouter.config.describe.values import example, written
from edgerouter.config.fields import ENTRY, fields
from edgerouter.config.model import PLUGIN_SECTIONS, SECTIONS, PluginKind, SinkPolicies, SourcePolicies
from edgerouter.config.shaping import ShapingTest

_HEAD: Final = files(__package__).joinpath("manual.md")
"""Beginning of the page, before the tables."""
_EXAMPLES: Final = files(__package__).joinpath("examples.yaml")
"""An example of each plugin and section of the core."""
_STEPS: Final[Mapping[str, PluginKind]] = {"steps": "step"}
_SPOOL: Final[Mapping[str, PluginKind]] = {"spool": "spool"}
_MORE: Final = """\
## Other plugins

Every field of what the other distributions bring: [Amazon Web Services](aws-fields.md), [Azure](azure-fields.md),
[Google Cloud](gcp-fields.md), [NATS](nats-fields.md), [CloudSync](cloudsync-fields.md), [Sparkplug B](sparkplug-fields.md).
Secret stores come with the distributions of the clouds. `edgerouter plugins` lists what is installed, and
`python -m edgerouter.cli.manual DISTRIBUTION` prints the fields of a plugin of yours.
"""


def write(configs: Mapping[PluginKind, Mapping[str, type[BaseModel]]]) -> str:
    """Return the whole page.

    Args:
        configs: the `Config` of each plugin to describe, by kind and type.
    """
    parts = [_HEAD.read_text("utf-8")]
    for section, kind in PLUGIN_SECTIONS.items():
        by_type, title = configs.get(kind, {}), section.replace("_", " ").capitalize()
        if kind in ("sink", "source"):
            policies = SinkPolicies if kind == "sink" else SourcePolicies
            parts.append(f"## {title}\n\nEvery {kind}, whatever its type, has these beside its own fields:\n\n{_table(policies)}")
        elif by_type:
            parts.append(f"## {title}\n")
        for name, model in sorted(by_type.items()):
            parts.append(f"### `{section}`: `type: {name}`\n\n{_about(model)}{_example(section, name)}{_table(model)}")
    steps = sorted(configs.get("step", {}).items())
    if steps:
        parts.append("## Steps\n\nA step stands in the list `steps` of a sink or source.\n")
    parts += [f"### `steps`: `type: {name}`\n\n{_about(model)}{_example('steps', name)}{_table(model)}" for name, model in steps]
    parts.append(_MORE)
    parts += [f"## `{name}`\n\n{_about(model)}{_example('sections', name)}{_table(model)}" for name, model in SECTIONS.items()]
    parts.append(f"## `tests`\n\nA list. Each is {_about(ShapingTest)[0].lower()}{_about(ShapingTest)[1:]}{_table(ShapingTest)}")
    return "\n".join(parts)


def write_plugins(configs: Mapping[PluginKind, Mapping[str, type[BaseModel]]]) -> str:
    """Return only the plugins' own fields, for a page about a distribution of plugins."""
    return "\n".join(
        f"## `{section}`: `type: {name}`\n\n{_about(model)}{_table(model)}"
        for section, kind in {**PLUGIN_SECTIONS, **_STEPS, **_SPOOL}.items()
        for name, model in sorted(configs.get(kind, {}).items())
    )


def _about(model: type[BaseModel]) -> str:
    text = " ".join((model.__doc__ or "").split("\n\n")[0].split())
    return f"{text}\n\n" if text else ""


def _example(section: str, name: str) -> str:
    """Return a block with the example of a plugin or section; a step stands in a sink."""
    text = examples().get(section, {}).get(name, "").rstrip("\n")
    if section == "steps" and text:
        text = f"sinks: {{out: {{type: stdout, steps: [{text}]}}}}"
    return f"```yaml\n{text}\n```\n\n" if text else ""


@cache
def examples() -> dict[str, dict[str, str]]:
    """Return the examples of the manual, by section and type."""
    read: dict[str, dict[str, str]] = yaml.safe_load(_EXAMPLES.read_text("utf-8"))
    return read


@dataclass(frozen=True, slots=True)
class _Row:
    name: str
    kind: str
    default: str
    example: str
    text: str


def _table(model: type[BaseModel]) -> str:
    rows = list(_rows(model))
    if not rows:
        return "It has no fields.\n"
    lines = ["| field | meaning | value | default | example |", "|---|---|---|---|---|"]
    lines += [f"| `{row.name}` | {row.text} | {row.kind} | {row.default} | {_code(row.example)} |" for row in rows]
    return "\n".join(lines) + "\n"


def field_examples(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], str, str]]:
    """Yield the model that has a field, the field's path, and its example as the page shows it."""
    for owner, row in _described(model):
        yield owner, row.name, row.example


def _rows(model: type[BaseModel]) -> Iterator[_Row]:
    return (row for _, row in _described(model))


def _described(model: type[BaseModel]) -> Iterator[tuple[type[BaseModel], _Row]]:
    schemas: dict[type[BaseModel], dict[str, Any]] = {}
    for field in fields(model):
        if field.owner not in schemas:
            schemas[field.owner] = field.owner.model_json_schema(schema_generator=Quietly)
        *parents, name = (part.replace(ENTRY, ".NAME") for part in field.path)
        yield field.owner, _row(parents, field.info.alias or name, schemas[field.owner])


def _row(parents: Sequence[str], name: str, schema: Mapping[str, Any]) -> _Row:
    raw, defs = schema["properties"][name], schema.get("$defs", {})
    choices = [choice for choice in _choices(raw, defs) if choice.get("type") != "null"]
    kind = " or ".join(dict.fromkeys(_kind(choice, defs) for choice in choices))
    items = [item for choice in choices for item in _choices(choice.get("items", {}), defs)]
    default = _default(raw["default"], kind) if "default" in raw else ""
    shown = example(name, raw, kind, choices)
    if any("properties" in part for part in (*choices, *items)):
        default = ""  # the rows of its parts have their own
    if name in schema.get("required", ()):
        default = "required"
    return _Row(".".join((*parents, name)), kind, default, shown, _cell(raw.get("description", "")))


def _choices(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Return the alternatives of a value, with references followed; a size or a duration is one alternative."""
    if "$ref" in schema:
        return _choices(defs[schema["$ref"].rpartition("/")[2]], defs)
    if "allOf" in schema and len(schema["allOf"]) == 1:
        return _choices(schema["allOf"][0], defs)
    members = schema.get("anyOf") or schema.get("oneOf")
    if members is None or _quantity(schema):
        return [schema]
    return [choice for member in members for choice in _choices(member, defs)]


def _quantity(schema: Mapping[str, Any]) -> str | None:
    """Recognise sizes and durations among numbers and texts by their examples (units.py)."""
    examples = [example for member in schema.get("anyOf", []) for example in member.get("examples", [])]
    if "2GiB" in examples:
        return "size"
    return "duration" if "200ms" in examples else None


_WORDS: Final = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "`true` or `false`",
    "object": "mapping",
}


def _kind(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> str:
    if quantity := _quantity(schema):
        return quantity
    if "const" in schema:
        return f"`{schema['const']}`"
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    if schema.get("format") == "path":
        return "path"
    if schema.get("writeOnly"):
        return "secret text"
    if schema.get("type") == "array":
        items = " or ".join(dict.fromkeys(_kind(choice, defs) for choice in _choices(schema.get("items", {}), defs)))
        return f"list of {items}" if items else "list"
    types = schema.get("type", [])
    return " or ".join(_WORDS.get(each, "any") for each in ([types] if isinstance(types, str) else types)) or "any"


def _default(value: Any, kind: str) -> str:
    return "none" if value is None else f"`{written(value, kind)}`"


def _code(text: str) -> str:
    """Return a text as code in a cell, also if it holds a backtick."""
    text = text.replace("|", "\\|")
    return f"`` {text} ``" if "`" in text else f"`{text}`" if text else ""


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
