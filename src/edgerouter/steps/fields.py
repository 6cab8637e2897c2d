"""Steps that choose, name and set members of a JSON payload: `project`, `pick`, `drop_fields`, `rename`, `set`."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from edgerouter.errors import BadInput
from edgerouter.item import Item
from edgerouter.step import StepConfig, StepContext
from edgerouter.steps.document_step import DocumentStep
from edgerouter.steps.expressions import Expression, compiled
from edgerouter.steps.paths import MISSING, FieldPath, getter, kind_of, parse_path, put, without


class ProjectConfig(StepConfig):
    """Makes the payload what a JMESPath expression finds in it."""

    expression: Expression = Field(examples=["{celsius: data.temperature, high: max(data.values)}"])
    """Such as `{temp: data.temperature, high: max(data.values)}`. `null` counts as a missing field."""


class ProjectStep(DocumentStep[ProjectConfig]):
    """Evaluates the expression."""

    def __init__(self, config: ProjectConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._evaluate = compiled(config.expression)

    def change(self, document: Any) -> Any:
        found = self._evaluate(document)
        if found is None:
            raise BadInput("missing field", "the expression finds nothing")
        return found


class PickConfig(StepConfig):
    """Keeps only these members; those that are missing are left out."""

    fields: tuple[FieldPath, ...] = Field(min_length=1, max_length=1000, examples=[["temperature", "unit"]])
    """Paths of the members: `temperature`, `engine.rpm`."""


class PickStep(DocumentStep[PickConfig]):
    """Copies the members into a new document, at the same paths."""

    def __init__(self, config: PickConfig, context: StepContext) -> None:
        super().__init__(config, context)
        paths = [parse_path(text) for text in config.fields]
        self._flat = [path[0] for path in paths if len(path) == 1]
        self._deep = [(path, getter(path)) for path in paths if len(path) > 1]

    def apply(self, items: list[Item]) -> list[Item]:
        names, general = self._flat, super().apply
        if self._deep:
            return general(items)
        # the most usual choice, of members at the top of the document, in a loop without calls
        out = []
        for item in items:
            document = item.read
            if document.__class__ is dict:
                item.read = {name: document[name] for name in names if name in document}
                item.changed = True
                out.append(item)
            else:
                out += general([item])
        return out

    def change(self, document: Any) -> Any:
        if document.__class__ is not dict:
            raise BadInput("wrong type", f"the payload is {kind_of(document)}, not an object")
        new = {}
        for name in self._flat:
            if name in document:
                new[name] = document[name]
        for path, read in self._deep:
            value = read(document)
            if value is not MISSING:
                new = put(new, path, value)
        return new


class DropFieldsConfig(StepConfig):
    """Leaves out these members."""

    fields: tuple[FieldPath, ...] = Field(min_length=1, max_length=1000, examples=[["debug", "raw.trace"]])
    """Paths of the members."""


class DropFieldsStep(DocumentStep[DropFieldsConfig]):
    """Copies the document without the members."""

    def __init__(self, config: DropFieldsConfig, context: StepContext) -> None:
        super().__init__(config, context)
        paths = [parse_path(text) for text in config.fields]
        self._flat = frozenset(path[0] for path in paths if len(path) == 1)
        self._deep = [path for path in paths if len(path) > 1]

    def change(self, document: Any) -> Any:
        if document.__class__ is not dict:
            raise BadInput("wrong type", f"the payload is {kind_of(document)}, not an object")
        flat = self._flat
        if not flat.isdisjoint(document):
            document = {name: value for name, value in document.items() if name not in flat}
        for path in self._deep:
            document = without(document, path)
        return document


class RenameConfig(StepConfig):
    """Gives members other names or places; one that is missing is left alone."""

    fields: dict[FieldPath, FieldPath] = Field(min_length=1, max_length=1000, examples=[{"t": "temperature"}])
    """New path of each member by its present one: `temp: temperature`."""


class RenameStep(DocumentStep[RenameConfig]):
    """Moves members, one after another."""

    def __init__(self, config: RenameConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._moves = [(parse_path(old), getter(parse_path(old)), parse_path(new)) for old, new in config.fields.items()]

    def change(self, document: Any) -> Any:
        for old, read, new in self._moves:
            value = read(document)
            if value is not MISSING:
                document = put(without(document, old), new, value)
        return document


class SetConfig(StepConfig):
    """Sets members to constants."""

    fields: dict[FieldPath, Any] = Field(min_length=1, max_length=1000, examples=[{"plant": "north", "line": "{topic[1]}"}])
    """Value of each member by its path."""
    only_missing: bool = False
    """Leave a member alone that is there."""


class SetStep(DocumentStep[SetConfig]):
    """Puts the constants into a copy of the document."""

    def __init__(self, config: SetConfig, context: StepContext) -> None:
        super().__init__(config, context)
        self._values = [(parse_path(text), getter(parse_path(text)), value) for text, value in config.fields.items()]

    def change(self, document: Any) -> Any:
        only_missing = self.config.only_missing
        for path, read, value in self._values:
            if not only_missing or read(document) is MISSING:
                document = put(document, path, value)
        return document
