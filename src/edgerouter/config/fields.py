"""Walk over the fields of a model and of the models inside it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, get_args, get_origin

from pydantic import BaseModel, SecretBytes, SecretStr
from pydantic.fields import FieldInfo

_Part: TypeAlias = tuple[str, Any]
"""A type inside an annotation, with the marks of the containers around it."""
ITEM: Final = "[]"
"""Mark behind the name of a list whose items are models: `parts[]`."""
ENTRY: Final = ".*"
"""Mark behind the name of a mapping whose values are models."""


@dataclass(frozen=True, slots=True)
class Field:
    """One field."""

    path: tuple[str, ...]
    """Names from the top; a list's name has `ITEM` behind it, a mapping's `ENTRY`, where the path goes on inside."""
    info: FieldInfo
    owner: type[BaseModel]
    """The model that has it."""
    secret: bool
    """True when its value, or a part of it, is a secret text."""


def fields(model: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Field]:
    """Yield every field of a model, each followed by those of the models inside it."""
    for name, info in model.model_fields.items():
        parts = list(_parts(info.annotation))
        yield Field((*path, name), info, model, any(part in (SecretStr, SecretBytes) for _, part in parts))
        for marks, part in parts:
            if is_model(part) and part is not model:
                yield from fields(part, (*path, name + marks))


def models_in(annotation: Any) -> set[type[BaseModel]]:
    """Return the models that an annotation names, in containers and unions too."""
    return {part for _, part in _parts(annotation) if is_model(part)}


def is_model(kind: Any) -> bool:
    """Return true for a model."""
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _parts(annotation: Any, marks: str = "") -> Iterator[_Part]:
    arguments = get_args(annotation)
    origin = get_origin(annotation)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        marks += ENTRY
    elif origin in (list, tuple, set, frozenset):
        marks += ITEM
    if not arguments:
        yield marks, annotation
    for argument in arguments:
        yield from _parts(argument, marks)
