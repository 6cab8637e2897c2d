"""Connection strings of Azure's services, as the portal shows them."""

from __future__ import annotations

import re
from typing import Final

_PART: Final = re.compile(r"\s*([A-Za-z0-9]+)\s*=\s*(.*?)\s*")


def parts_of(text: str) -> dict[str, str]:
    """Return the values of `Name=value;...` by their names in lower case.

    Raises:
        ValueError: a part has no name; the message quotes none of them.
    """
    parts: dict[str, str] = {}
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        match = _PART.fullmatch(part)
        if match is None:
            raise ValueError("the connection string is not one: parts are written as Name=value, with semicolons between them")
        parts[match[1].lower()] = match[2]
    return parts
