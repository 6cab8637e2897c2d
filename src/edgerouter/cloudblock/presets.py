"""Sources and sinks that presets make from the variables of another system."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import AliasChoices, Field, create_model
from pydantic_settings import BaseSettings

from edgerouter.cloudblock.declared import BY_DECLARATION, unquoted
from edgerouter.cloudblock.tree import Found
from edgerouter.config.overlay import Environment, Given
from edgerouter.config.tree import Node, Origin
from edgerouter.variables import FromVariable, Preset


def add(found: Found, presets: Sequence[Preset], around: Environment) -> None:
    """Add the entries that the presets make; an invalid variable becomes a fault."""
    for preset in presets:
        given = _given(preset, around)
        try:
            texts = {name: _text(each) for name, each in given.items()}
            made = preset.make(texts)
            found.notes += preset.notes(texts) if preset.notes is not None else ()
        except ValueError as error:
            found.faults.append((Origin("environment"), str(error)))
            continue
        for section, entries in made.items():
            found.section(section).update({name: _node(entry, given) for name, entry in entries.items()})


def _given(preset: Preset, around: Environment) -> dict[str, Given]:
    fields = {f"v{number}": name for number, name in enumerate(preset.names)}
    aliases: dict[str, Any] = {
        field: (str | None, Field(None, validation_alias=AliasChoices(name))) for field, name in fields.items()
    }
    read = around.read(create_model("_Preset", __base__=BaseSettings, **aliases))
    return {fields[field]: given for field, given in read.items()}


def _text(given: Given) -> str:
    try:
        return unquoted(given.text.strip())
    except ValueError as error:
        raise ValueError(f"{given.label}: {error}") from None


def _node(value: Any, given: Mapping[str, Given], origin: Origin = BY_DECLARATION, secret: str | None = None) -> Node:
    if isinstance(value, FromVariable):
        label = given[value.name].label
        return _node(value.value, given, Origin(label), label if value.secret else None)
    if isinstance(value, Mapping):
        return Node({key: _node(each, given, origin, secret) for key, each in value.items()}, origin, origin)
    if isinstance(value, list | tuple):
        return Node([_node(each, given, origin, secret) for each in value], origin, origin)
    # what stands in a variable is not read as references
    return Node(value.replace("${", "$${") if isinstance(value, str) else value, origin, origin, reference=secret)
