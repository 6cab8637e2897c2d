"""Build one JSON Schema (draft 2020-12) of the whole configuration file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaMode, JsonSchemaWarningKind, models_json_schema

from edgerouter.config.model import SECTIONS, PluginKind, SinkPolicies, SourcePolicies
from edgerouter.config.shaping import ShapingTest

DRAFT: Final = "https://json-schema.org/draft/2020-12/schema"

_PLUGINS: Final[Mapping[str, tuple[PluginKind, str]]] = {
    "sources": ("source", "Where messages come from, by name; at least one."),
    "sinks": ("sink", "Where messages go, by name; at least one."),
    "secret_stores": ("secret_store", "Where references such as ${vault:name} are looked up, by name."),
}
_POLICIES: Final[Mapping[PluginKind, type[BaseModel]]] = {"source": SourcePolicies, "sink": SinkPolicies}
_NAME: Final = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
_REFERENCE: Final = {
    "type": "string",
    "pattern": r"\$\{[A-Za-z0-9][A-Za-z0-9._-]*:[^}]+\}",
    "description": "A reference: ${env:NAME}, ${env:NAME:-default}, ${file:/path} or ${store:name}.",
}
_TOLD: Final = ("description", "default", "title", "examples")
"""Keys that say something about a field whatever stands there."""
_MODE: Final[JsonSchemaMode] = "validation"


class Quietly(GenerateJsonSchema):
    """Leave out a default that JSON cannot express, without a warning: the user can do nothing about it."""

    ignored_warning_kinds: set[JsonSchemaWarningKind] = {"non-serializable-default", "skipped-choice"}  # noqa: RUF012  (as pydantic has it)


def build(configs: Mapping[PluginKind, Mapping[str, type[BaseModel]]]) -> dict[str, Any]:
    """Return the schema.

    Args:
        configs: the `Config` of each plugin, by kind and type.
    """
    models: list[type[BaseModel]] = [*_POLICIES.values(), *SECTIONS.values(), ShapingTest]
    models += [model for by_type in configs.values() for model in by_type.values()]
    inputs = [(model, _MODE) for model in dict.fromkeys(models)]
    of_model, shared = models_json_schema(inputs, ref_template="#/$defs/{model}", schema_generator=Quietly)
    defs: dict[str, Any] = shared.get("$defs", {})

    defs = {name: _with_references(model) for name, model in defs.items()}

    def body(model: type[BaseModel]) -> dict[str, Any]:
        found: dict[str, Any] = defs[of_model[model, _MODE]["$ref"].rpartition("/")[2]]
        return found

    steps = _one_of_type("step", sorted(configs.get("step", {})))
    for policies in (SinkPolicies, SourcePolicies):
        body(policies)["properties"]["steps"]["items"] = steps
    entries: dict[str, Any] = {}
    for kind, by_type in configs.items():
        if kind == "spool":
            continue
        for name, model in by_type.items():
            also = body(_POLICIES[kind]) if kind in _POLICIES else {}
            entries[f"{kind}:{name}"] = _entry(name, body(model), also)
    properties: dict[str, Any] = {}
    for key, (kind, description) in _PLUGINS.items():
        properties[key] = _by_name(description, kind, sorted(configs.get(kind, {})))
    for key, model in SECTIONS.items():
        properties[key] = {"$ref": of_model[model, _MODE]["$ref"], "description": model.__doc__}
    if spools := {name: of_model[model, _MODE]["$ref"] for name, model in configs.get("spool", {}).items()}:
        properties["spool"] = _spool(properties["spool"], spools)
    properties["tests"] = {
        "type": "array",
        "description": "Examples of what the steps of a sink make of messages; `edgerouter check` tries them.",
        "items": {"$ref": of_model[ShapingTest, _MODE]["$ref"]},
    }
    properties["host"] = {
        "type": "string",
        "description": "The device's name, for object keys and client ids; the host name by default.",
    }
    defs |= entries
    defs["reference"] = dict(_REFERENCE)
    return {
        "$schema": DRAFT,
        "title": "edgerouter configuration",
        "type": "object",
        "additionalProperties": False,
        "properties": properties,
        "$defs": defs,
    }


def _entry(name: str, own: Mapping[str, Any], policies: Mapping[str, Any]) -> dict[str, Any]:
    """One plugin's own fields, joined with what every sink has."""
    kind = {"const": name, "description": "The plugin."}
    return {
        **own,
        "properties": {"type": kind, **own.get("properties", {}), **policies.get("properties", {})},
        "required": ["type", *own.get("required", [])],
        "additionalProperties": own.get("additionalProperties", False),
    }


def _spool(built_in: Mapping[str, Any], plugins: Mapping[str, str]) -> dict[str, Any]:
    """Select the fields of the section by its type; one of the built-in two where none is written."""

    def of(names: list[str]) -> dict[str, Any]:
        return {"properties": {"type": {"enum": names}}, "required": ["type"]}

    choices = [{"if": of([name]), "then": {"$ref": ref}} for name, ref in plugins.items()]
    choices.append({"if": of(sorted(plugins)), "else": {"$ref": built_in["$ref"]}})
    return {"description": built_in["description"], "type": "object", "allOf": choices}


def _by_name(description: str, kind: PluginKind, names: list[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "description": description,
        "propertyNames": {"pattern": _NAME},
        "additionalProperties": _one_of_type(kind, names),
        **({"minProperties": 1} if kind != "secret_store" else {}),
    }


def _one_of_type(kind: PluginKind, names: list[str]) -> dict[str, Any]:
    """The types as an enumeration, and the fields of the one that is written: of a `oneOf`, editors show the first alone."""
    if not names:
        return {"not": {}}
    word = kind.replace("_", " ")
    return {
        "type": "object",
        "properties": {"type": {"enum": names, "description": f"The plugin of this {word}, one of: {', '.join(names)}."}},
        "required": ["type"],
        "allOf": [
            {
                "if": {"properties": {"type": {"const": name}}, "required": ["type"]},
                "then": {"$ref": f"#/$defs/{kind}:{name}"},
            }
            for name in names
        ],
    }


def _with_references(model: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy in which a reference may also stand where a number, a boolean or one of some words is wanted."""
    properties = model.get("properties")
    if properties is None:
        return dict(model)
    return {**model, "properties": {field: _or_reference(field, schema) for field, schema in properties.items()}}


def _or_reference(field: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    if field == "type" and "const" in schema:
        return dict(schema)
    reference = {"$ref": "#/$defs/reference"}
    if schema.get("type") in ("integer", "number", "boolean") or "enum" in schema or "pattern" in schema:
        told = {key: schema[key] for key in _TOLD if key in schema}
        return {"anyOf": [{key: value for key, value in schema.items() if key not in _TOLD}, reference], **told}
    return {**schema, "anyOf": [*schema["anyOf"], reference]} if "anyOf" in schema else dict(schema)
