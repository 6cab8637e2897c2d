"""Export over HTTP: `HTTPPost`, `HTTPPut` and their forms for JSON and XML, of EdgeX 1.3's profile `http-export`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

from edgerouter.cloudblock.edgex.values import FUNCTIONS, Given, flag, listed
from edgerouter.variables import FromVariable

SINK: Final = "http-export"
_TYPES: Final = {"": None, "JSON": "application/json", "XML": "application/xml"}
_PARAMETERS: Final = ("URL", "MIMETYPE", "PERSISTONERROR", "SECRETHEADERNAME", "SECRETPATH")


def _prefix(function: str) -> str:
    return f"{FUNCTIONS}{function}_PARAMETERS_"


FORMS: Final = {f"HTTP{method}{form}": (method, media) for method in ("POST", "PUT") for form, media in _TYPES.items()}
"""Method and media type by function."""
NAMES: Final = {function: tuple(_prefix(function) + name for name in _PARAMETERS) for function in FORMS}
"""Variables by function."""


def send(given: Given, function: str) -> dict[str, Any]:
    """Return the sink that a function describes: one request for each message, whose body is the payload."""
    prefix = _prefix(function)
    method, media = FORMS[function]
    if prefix + "URL" not in given:
        raise ValueError(f"{prefix}URL: is missing; set it to the address of the web service to export to")
    flag(given, prefix + "PERSISTONERROR")
    sink = {
        "type": "http",
        "url": FromVariable(prefix + "URL", given[prefix + "URL"]),
        "method": method,
        "framing": "payload",
    }
    if media is not None:
        sink["content_type"] = media
    elif prefix + "MIMETYPE" in given:
        sink["content_type"] = FromVariable(prefix + "MIMETYPE", given[prefix + "MIMETYPE"])
    return sink


def notes(given: Given) -> Iterator[str]:
    """Explain what is accepted and has no effect, or not the whole one."""
    always = [_prefix(function) + "PERSISTONERROR" for function in FORMS if _prefix(function) + "PERSISTONERROR" in given]
    if always:
        yield f"{listed(always)} not needed: the spool stores every message until it is sent"
    for function in FORMS:
        prefix = _prefix(function)
        if prefix + "SECRETHEADERNAME" in given:
            yield (
                f"{prefix}SECRETHEADERNAME: the header's value was in EdgeX's secret store; set"
                " EDGEROUTER__SINKS__HTTP_EXPORT__SECRET_HEADERS to {" + given[prefix + "SECRETHEADERNAME"] + ": VALUE}"
            )
