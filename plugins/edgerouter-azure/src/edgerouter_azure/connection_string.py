"""Connection strings of Azure's services, as the portal shows them."""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

_PART: Final = re.compile(r"\s*([A-Za-z0-9]+)\s*=\s*(.*?)\s*")


def parts_of(text: str, *, with_digits: Container[str] = ()) -> dict[str, str]:
    """Return the values of `Name=value;...` by their names in lower case.

    Args:
        text: the connection string.
        with_digits: names that hold digits, in lower case. Any other is refused: it is a piece of a key that was pasted in parts,
            and what is left of the key would be taken for the whole.

    Raises:
        ValueError: a part has no name; the message quotes none of them.
    """
    parts: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        match = _PART.fullmatch(part)
        if match is None or not (match[1].isalpha() or match[1].lower() in with_digits):
            raise ValueError("the connection string is not one: parts are written as Name=value, with semicolons between them")
        parts[match[1].lower()] = match[2]
    return parts
