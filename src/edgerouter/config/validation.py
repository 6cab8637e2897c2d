"""Validate parts of the configuration with pydantic, and report errors in the user's words, at their place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ValidationError

from edgerouter.config.fields import models_in
from edgerouter.config.tree import Node, Origin, Place
from edgerouter.config.yaml_file import scalar
from edgerouter.errors import ConfigurationError

ModelT = TypeVar("ModelT", bound=BaseModel)

_WORDS: Final = {
    "tuple_type": "should be a list",
    "list_type": "should be a list",
    "set_type": "should be a list",
    "dict_type": "should be a mapping",
    "model_type": "should be a mapping",
    "model_attributes_type": "should be a mapping",
    "bool_parsing": "should be true or false",
    "bool_type": "should be true or false",
    "int_parsing": "should be a whole number",
    "int_type": "should be a whole number",
    "int_parsing_size": "is too large a number",
    "int_from_float": "should be a whole number",
    "float_parsing": "should be a number",
    "float_type": "should be a number",
    "string_type": "should be a text",
    "path_type": "should be a path",
}
_IN_A_VARIABLE: Final = {
    "should be a list": """ in JSON, such as '["a/b", "c/#"]'""",
    "should be a mapping": """ in JSON, such as '{"a": "b"}'""",
}
_SUBJECT: Final = re.compile(r"^\w+ should")
# texts of these come from validators, ours or a plugin's, and may quote the value; pydantic's own never do
_QUOTING: Final = frozenset({"value_error", "assertion_error"})


@dataclass(slots=True)
class Problems:
    """Gathers every problem, so that all are reported at once."""

    label: str
    """Prefix of problems that have no place: the file, or `environment`."""
    _found: list[tuple[tuple[bool, int, int, str], str]] = field(default_factory=list)

    def add(self, origin: Origin | None, text: str) -> None:
        """Add a problem; `text` begins with the path of its value, if it has one."""
        if origin is None:
            self._found.append(((False, 0, 0, ""), f"{self.label}: {text}"))
        else:
            self._found.append((origin.order, f"{origin.label}: {text}"))

    def at(self, tree: Node, place: Place, reason: str, *, key: bool = False) -> None:
        """Add a problem of the value at a place, or of the nearest thing around it that was written.

        Args:
            tree: the whole configuration.
            place: from the top of it.
            reason: what is wrong.
            key: the key is what is wrong, not its value.
        """
        # of what is missing the whole is the nearest thing that was written
        node, origin = tree, tree.origin if tree.origin.line else None
        for number, step in enumerate(place, start=1):
            child = node.child(step)
            if child is None:
                break
            node = child
            whole = number == len(place)
            origin = node.origin if whole and not key else node.key or node.origin
        self.add(origin, f"{dotted(place)}: {reason}" if place else reason)

    def raise_if_any(self) -> None:
        """Raise.

        Raises:
            ConfigurationError: there are problems; all of them, sorted by place, each once.
        """
        if self._found:
            raise ConfigurationError(*dict.fromkeys(text for _, text in sorted(self._found)))


def dotted(place: Place) -> str:
    """Return the path as users read it: `sinks.alerts.topics[0]`."""
    return "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in place).removeprefix(".")


def nearest(word: str, known: Iterable[str]) -> str:
    """Return `; did you mean ...?`, or the known words where none is near."""
    choices = sorted(known)
    for each in (word.lower().replace("-", "_"), word):
        if near := difflib.get_close_matches(each, choices, n=1):
            return f"; did you mean {near[0]!r}?"
    return f"; known are {', '.join(choices)}" if choices else ""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of the tree that one model describes."""

    tree: Node
    """The whole configuration."""
    place: Place
    """Place of the part in it."""
    node: Node
    """The part itself, possibly with only some of its keys."""
    also: frozenset[str] = frozenset()
    """Keys that belong there too but to another model, for telling the nearest valid name."""

    def validate(self, model: type[ModelT], problems: Problems) -> ModelT | None:
        """Return the model, or `None` after adding what is wrong to `problems`.

        A value whose only faults lie in references to secret stores gives a model made without validation.
        """
        raw = self.node.plain()
        errors = _errors(model, raw)
        if isinstance(errors, BaseModel):
            return errors
        errors = self._as_written(model, errors)
        if isinstance(errors, BaseModel):
            return errors
        real = [error for error in errors if not self._is_pending(error)]
        if not real:
            return model.model_construct(**raw)
        for place, reasons in self._by_place(model, real).items():
            unknown = any(reason.startswith("unknown key") for reason in reasons)
            problems.at(self.tree, (*self.place, *place), " or ".join(dict.fromkeys(reasons)), key=unknown)
        return None

    def _as_written(self, model: type[ModelT], errors: list[dict[str, Any]]) -> ModelT | list[dict[str, Any]]:
        """Read what was refused the other way: `password: 12345` as a text, `qos: ${env:QOS}` as a number."""
        changed: list[tuple[Place, Node, Any]] = []
        for place in {self._place(error) for error in errors}:
            node = self.node.child(*place)
            if node is not None and (other := _other_reading(node)) is not None:
                changed.append((place, node, node.value))
                node.value = other
        if not changed:
            return errors
        again = _errors(model, self.node.plain())
        if isinstance(again, BaseModel):
            return again
        bad = {self._place(error) for error in again}
        reverted = False
        text_wanted = {self._place(error) for error in errors if error["type"] in ("string_type", "path_type")}
        for place, node, value in changed:
            if place not in text_wanted and any(other[: len(place)] == place for other in bad):
                node.value = value
                reverted = True
        return _errors(model, self.node.plain()) if reverted else again

    def _place(self, error: dict[str, Any]) -> Place:
        """Return pydantic's location without what the document lacks, such as names of union members."""
        node, place = self.node, ()  # type: tuple[Node, Place]
        for number, step in enumerate(error["loc"], start=1):
            child = node.child(step)
            if child is not None:
                node, place = child, (*place, step)
            elif number == len(error["loc"]) and error["type"] == "missing":
                place = (*place, step)
        return place

    def _is_pending(self, error: dict[str, Any]) -> bool:
        """Return true for an error in, or possibly caused by, a text that only a secret store knows."""
        node = self.node.child(*self._place(error))
        if node is None or error["type"] in ("missing", "extra_forbidden"):
            return False
        return any(inner.pending for _, inner in node.walk())

    def _by_place(self, model: type[BaseModel], errors: list[dict[str, Any]]) -> dict[Place, list[str]]:
        reasons: dict[Place, list[str]] = {}
        places = [self._place(error) for error in errors]
        for error, place in zip(errors, places, strict=True):
            if error["type"] == "too_short" and any(len(other) > len(place) and other[: len(place)] == place for other in places):
                # only because the items that are wrong do not count
                continue
            reasons.setdefault(place, []).append(self._reason(model, error, place))
        return reasons

    def _reason(self, model: type[BaseModel], error: dict[str, Any], place: Place) -> str:
        kind: str = error["type"]
        if kind == "missing":
            return "is missing"
        if kind == "extra_forbidden":
            at_top = len(place) == 1
            return "unknown key" + nearest(str(place[-1]), known_keys(model, error["loc"][:-1]) | (self.also if at_top else set()))
        node = self.node.child(*place)
        if kind in _QUOTING:
            return self._without_secrets(error["msg"].partition(", ")[2] or error["msg"], node)
        text = _WORDS.get(kind) or _SUBJECT.sub("should", error["msg"].partition(" after validation")[0])
        if kind in ("literal_error", "enum") and node is not None and isinstance(node.value, str) and node.reference is None:
            choices = re.findall(r"'([^']*)'", error["msg"])
            if near := difflib.get_close_matches(node.value, choices, n=1):
                text += f"; did you mean {near[0]!r}?"
        return text + _IN_A_VARIABLE.get(text, "") if node is not None and node.origin.line == 0 else text

    def _without_secrets(self, text: str, node: Node | None) -> str:
        for _, inner in node.walk() if node is not None else ():
            if inner.reference is not None and (inner is node or _leaks(text, str(inner.value))):
                return f"not valid with the value of {inner.reference}, which is not shown"
        return text


def _other_reading(node: Node) -> str | float | bool | None:
    if node.text is not None and node.value is not None and "${" not in node.text:
        return node.text
    if node.reference is not None and isinstance(node.value, str) and not isinstance(found := scalar(node.value), str):
        return found
    return None


def _leaks(text: str, secret: str) -> bool:
    """Return true for a text that holds a secret, or a part of one such as the password in an address."""
    parts = [part for part in re.split(r"[^A-Za-z0-9]+", secret) if len(part) > 3]
    return bool(secret) and any(part in text for part in (secret, *parts))


def _errors(model: type[ModelT], raw: Any) -> ModelT | list[dict[str, Any]]:
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        return [dict(found) for found in error.errors(include_url=False, include_context=False, include_input=False)]


def known_keys(model: type[BaseModel], loc: Sequence[str | int]) -> set[str]:
    """Return the keys that a model, or the models inside it at a location, have."""
    models = {model}
    for step in loc:
        inside = [info.annotation for one in models for name, info in one.model_fields.items() if step in (name, info.alias)]
        if inside:
            models = {found for annotation in inside for found in models_in(annotation)}
    return {info.alias or name for one in models for name, info in one.model_fields.items()}
