"""Export over HTTP: `HTTPPost`, `HTTPPut` and their forms for JSON and XML of EdgeX 1.3, later `HTTPExport`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from edgerouter.cloudblock.edgex.values import FUNCTIONS, Given, flag, listed
from edgerouter.variables import FromVariable

SINK: Final = "http-export"
_TYPES: Final = {"": None, "JSON": "application/json", "XML": "application/xml"}
_DEFAULT_TYPE: Final = "application/json"
"""Of functions without a form, as in EdgeX: https://github.com/edgexfoundry/app-functions-sdk-go, pkg/transforms/http.go"""
_HEADER: Final = ("HEADERNAME", "SECRETNAME", "SECRETVALUEKEY")
_PARAMETERS: Final = ("URL", "MIMETYPE", "PERSISTONERROR", "SECRETHEADERNAME", "SECRETPATH")


def _prefix(function: str) -> str:
    return f"{FUNCTIONS}{function}_PARAMETERS_"


FORMS: Final = {f"HTTP{method}{form}": (method, media) for method in ("POST", "PUT") for form, media in _TYPES.items()}
"""Method and media type by function."""
_EXPORT: Final = "HTTPEXPORT"
_PASSED_ON: Final = ("CONTINUEONSENDERROR", "RETURNINPUTDATA")
"""About functions behind the export, of which there are none."""
NAMES: Final = {
    **{function: tuple(_prefix(function) + name for name in _PARAMETERS) for function in FORMS},
    _EXPORT: tuple(
        _prefix(_EXPORT) + name
        for name in ("METHOD", "URL", "MIMETYPE", "PERSISTONERROR", "HTTPREQUESTHEADERS", *_HEADER, *_PASSED_ON)
    ),
}
"""Variables by function."""


def send(given: Given, function: str) -> dict[str, Any]:
    """Return the sink that a function describes: one request for each message, whose body is the payload."""
    prefix = _prefix(function)
    method, media = FORMS[function] if function in FORMS else (_method(given), None)
    if prefix + "URL" not in given:
        raise ValueError(f"{prefix}URL: is missing; set it to the address of the web service to export to")
    flag(given, prefix + "PERSISTONERROR")
    sink: dict[str, Any] = {
        "type": "http",
        "url": FromVariable(prefix + "URL", given[prefix + "URL"]),
        "method": method,
        "framing": "payload",
    }
    named = given.get(prefix + "MIMETYPE") if media is None else None
    sink["content_type"] = FromVariable(prefix + "MIMETYPE", named) if named else media or _DEFAULT_TYPE
    if prefix + "HTTPREQUESTHEADERS" in given:
        sink["secret_headers"] = FromVariable(prefix + "HTTPREQUESTHEADERS", _headers(given), secret=True)
    return sink


def _method(given: Given) -> str:
    method = given.get(f"{_prefix(_EXPORT)}METHOD", "post").upper()
    if method not in ("POST", "PUT"):
        raise ValueError(f"{_prefix(_EXPORT)}METHOD: should be post or put")
    if "{" in given.get(f"{_prefix(_EXPORT)}URL", ""):
        raise ValueError(f"{_prefix(_EXPORT)}URL: placeholders are not available; write the address out")
    return method


def _headers(given: Given) -> dict[str, str]:
    """Return the headers, which may hold secrets."""
    name = f"{_prefix(_EXPORT)}HTTPREQUESTHEADERS"
    try:
        return msgspec.json.decode(given[name], type=dict[str, str])
    except msgspec.MsgspecError:
        raise ValueError(f'{name}: should be a JSON object of texts, such as {{"X-Plant": "1"}}') from None


def notes(given: Given) -> Iterator[str]:
    """Explain what is accepted and has no effect, or not the whole one."""
    always = [_prefix(function) + "PERSISTONERROR" for function in NAMES if _prefix(function) + "PERSISTONERROR" in given]
    if always:
        yield f"{listed(always)} not needed: the spool stores every message until it is sent"
    for function in NAMES:
        name = _prefix(function) + ("HEADERNAME" if function == _EXPORT else "SECRETHEADERNAME")
        if name in given:
            yield (
                f"{name}: the header's value was in EdgeX's secret store; set"
                " EDGEROUTER__SINKS__HTTP_EXPORT__SECRET_HEADERS to {" + given[name] + ": VALUE}"
            )
