"""Paths of members in documents: `a.b.0`; reading, and changing a copy of what is around the member."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Annotated, Any, Final, TypeAlias

from pydantic import AfterValidator

from edgerouter.errors import BadInput

MISSING: Final = object()
"""In place of a member that is not there."""
MOST_LEVELS: Final = 32

Path: TypeAlias = tuple[str, ...]
_ESCAPED: Final = re.compile(r"\\(.)")
_DOT: Final = re.compile(r"(?<!\\)\.")


def parse_path(text: str) -> Path:
    r"""Split a path at its dots; `\.` is a dot in a name.

    Raises:
        ValueError: a name is empty, or there are too many.
    """
    names = tuple([_ESCAPED.sub(r"\1", name) for name in _DOT.split(text)])
    if not all(names):
        raise ValueError(f"{text!r} has an empty name; write the path of a member as in a.b")
    if len(names) > MOST_LEVELS:
        raise ValueError(f"{text!r} has more than {MOST_LEVELS} levels")
    return names


def _checked(text: str) -> str:
    parse_path(text)
    return text


FieldPath = Annotated[str, AfterValidator(_checked)]
"""A configuration field that holds the path of a member."""


def top(path: Path) -> str | None:
    """Return the name of a member of the document itself; `None` for a path that leads deeper."""
    return path[0] if len(path) == 1 else None


def getter(path: Path) -> Callable[[Any], Any]:
    """Return the function that reads a member, or returns `MISSING`."""
    if len(path) == 1:
        (name,) = path
        return lambda document: document.get(name, MISSING) if document.__class__ is dict else _member(document, name)

    def read(document: Any) -> Any:
        for name in path:
            document = document.get(name, MISSING) if document.__class__ is dict else _member(document, name)
            if document is MISSING:
                return MISSING
        return document

    return read


def put(document: Any, path: Path, value: Any) -> Any:
    """Return a document with this value at the path; mappings are made where nothing is.

    Raises:
        BadInput: something that is neither a mapping nor a list stands in the way.
    """
    if len(path) == 1 and document.__class__ is dict:
        return {**document, path[0]: value}
    name, rest = path[0], path[1:]
    if document is MISSING:
        document = {}
    if isinstance(document, list):
        place = _place(document, name)
        copy: Any = [*document]
        copy[place] = put(document[place], rest, value) if rest else value
        return copy
    if not isinstance(document, dict):
        raise BadInput("wrong type", f"{name!r} cannot be set in {kind_of(document)}")
    return {**document, name: put(document.get(name, MISSING), rest, value) if rest else value}


def without(document: Any, path: Path) -> Any:
    """Return a document without the member; the same one where it has no such member."""
    name, rest = path[0], path[1:]
    if not isinstance(document, dict) or name not in document:
        return document
    if not rest:
        return {key: value for key, value in document.items() if key != name}
    inner = without(document[name], rest)
    return document if inner is document[name] else {**document, name: inner}


def _member(document: Any, name: str) -> Any:
    if isinstance(document, list) and name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(document):
        return document[int(name)]
    return MISSING


def _place(document: list[Any], name: str) -> int:
    if not (name.isascii() and name.isdigit() and len(name) < 10 and int(name) < len(document)):
        raise BadInput("missing field", f"a list of {len(document)} has no place {name!r}")
    return int(name)


def kind_of(value: Any) -> str:
    """Return the JSON type of a value, with its article."""
    if value is None:
        return "null"
    return _KINDS.get(type(value), "a number")


_KINDS: Final[dict[type, str]] = {dict: "an object", list: "a list", str: "a text", bool: "a truth value"}
