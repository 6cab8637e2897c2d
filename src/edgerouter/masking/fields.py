"""Masks the values of named fields in JSON documents."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

import msgspec

from edgerouter.masking import MASK

_Places: TypeAlias = Sequence[tuple[str, ...]]
"""Rests of the pointers that lead into a part of a document."""

_NOT_IN_A_TOKEN: Final = re.compile(r"~(?![01])")


def check_field(text: str) -> str:
    """Return the name of a field, or the JSON pointer, unchanged.

    Raises:
        ValueError: it is a pointer with a `~` that escapes nothing (RFC 6901, 3).
    """
    if text.startswith("/") and _NOT_IN_A_TOKEN.search(text):
        raise ValueError(f"in the JSON pointer {text!r}, write `~` as `~0` and `/` in a name as `~1`")
    return text


class FieldMask:
    """Replaces the values of some fields by `***`.

    Args:
        fields: names, which count at any depth and in any case, and JSON pointers such as `/login/pin`, which count for one place.
    """

    def __init__(self, fields: Iterable[str]) -> None:
        fields = tuple(fields)
        self._pointers = tuple([_tokens(each) for each in fields if each.startswith("/")])
        self._names = frozenset([each.casefold() for each in fields if not each.startswith("/")])
        written = "|".join(re.escape(name) for name in {*self._names, *(tokens[-1].casefold() for tokens in self._pointers)})
        self._named = re.compile(written or "(?!)")
        # a text that is a document, or a query, itself
        self._assigned = re.compile(rf"(?:{written})[\s\"'\\]*[:=]" if written else "(?!)")

    def __bool__(self) -> bool:
        return bool(self._names or self._pointers)

    def hides(self, name: str) -> bool:
        """Return True if the value of a field of this name, outside a document, is masked."""
        return name.casefold() in self._names

    def masked(self, payload: bytes) -> bytes | None:
        """Return the payload without the values, a document encoded anew; `None` if it has such a name and is not a document."""
        if not self:
            return payload
        try:
            return msgspec.json.encode(self._without(msgspec.json.decode(payload), self._pointers))
        except RecursionError:
            return None
        except (msgspec.DecodeError, ValueError, OverflowError, TypeError):
            # escapes may spell a name, and so may UTF-16
            text = payload.decode(errors="replace").replace("\0", "").casefold()
            return None if "\\u" in text or self._named.search(text) else payload

    def _without(self, value: Any, places: _Places) -> Any:
        if isinstance(value, dict):
            return {name: self._member(name, inner, places) for name, inner in value.items()}
        if isinstance(value, list):
            return [self._element(str(number), inner, places) for number, inner in enumerate(value)]
        if isinstance(value, str) and self._assigned.search(value.casefold()):
            return MASK
        return value

    def _member(self, name: str, inner: Any, places: _Places) -> Any:
        return MASK if name.casefold() in self._names else self._element(name, inner, places)

    def _element(self, token: str, inner: Any, places: _Places) -> Any:
        below = [place[1:] for place in places if place[0] == token] if places else places
        return MASK if () in below else self._without(inner, below)


def _tokens(pointer: str) -> tuple[str, ...]:
    return tuple([token.replace("~1", "/").replace("~0", "~") for token in pointer[1:].split("/")])
