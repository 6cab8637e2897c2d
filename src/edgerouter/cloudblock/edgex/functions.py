"""Functions of a pipeline that shape events: filters, tags, compression and encryption become the steps of a sink.

https://github.com/edgexfoundry/app-functions-sdk-go, internal/app/configurable.go and pkg/transforms
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from edgerouter.cloudblock.edgex.values import FUNCTIONS, Given, flag, literal
from edgerouter.variables import FromVariable

_KEY: Final = "EDGEROUTER_EDGEX_KEY"
_KEY_FILE: Final = "EDGEROUTER_EDGEX_KEY_FILE"
_RAW_1: Final = "WRITABLE_PIPELINE_USETARGETTYPEOFBYTEARRAY"
_RAW: Final = "WRITABLE_PIPELINE_TARGETTYPE"
_EXPRESSION: Final = re.compile(r"[\\^$*+?()[\]{}|]")
"""Signs of a regular expression: EdgeX takes both names and expressions since 3.1."""
_OF_EVENTS: Final = {
    "FILTERBYDEVICENAME": ("DEVICENAMES", "deviceName || device"),
    "FILTERBYPROFILENAME": ("PROFILENAMES", "profileName"),
    "FILTERBYSOURCENAME": ("SOURCENAMES", "sourceName"),
}
"""Parameter, and where an event has the name."""
_OF_READINGS: Final = {"FILTERBYRESOURCENAME": "RESOURCENAMES", "FILTERBYVALUEDESCRIPTOR": "VALUEDESCRIPTORS"}
_ALGORITHMS: Final = {"COMPRESSWITHGZIP": "gzip", "COMPRESSWITHZLIB": "zlib"}


def _parameter(function: str, name: str) -> str:
    return f"{FUNCTIONS}{function}_PARAMETERS_{name}"


_DEVICES: Final = _parameter("FILTERBYDEVICENAME", "DEVICENAMES")
_TAGS: Final = _parameter("ADDTAGS", "TAGS")
_TYPE: Final = _parameter("TRANSFORM", "TYPE")
_COMPRESS: Final = _parameter("COMPRESS", "ALGORITHM")
_ENCRYPT: Final = _parameter("ENCRYPT", "ALGORITHM")

NAMES: Final = (
    *(
        _parameter(function, name)
        for function, parameter in ({f: p for f, (p, _) in _OF_EVENTS.items()} | _OF_READINGS).items()
        for name in (parameter, "FILTEROUT")
    ),
    *(_TAGS, _TYPE, _COMPRESS, _ENCRYPT, _KEY, _KEY_FILE, _RAW_1, _RAW),
    *(_parameter("ENCRYPT", name) for name in ("SECRETNAME", "SECRETVALUEKEY")),
    *(_parameter(name, "RESPONSECONTENTTYPE") for name in ("SETOUTPUTDATA", "SETRESPONSEDATA")),
)
"""Variables that are read here, or mean nothing here."""

IDLE: Final = frozenset({"TRANSFORMTOJSON", "MARKASPUSHED", "SETOUTPUTDATA", "SETRESPONSEDATA"})
"""Functions that change nothing here: an event out of its envelope is JSON, and each sink's position says what was sent."""

Step = dict[str, Any]


def filters_devices(given: Given) -> bool:
    """Return True if devices are named, which the profile `http-export` of 1.3 filters by without being asked."""
    return _DEVICES in given


def steps_of(function: str, given: Given) -> list[Step]:
    """Return the steps that take the place of one function; none where nothing is to be done.

    Raises:
        KeyError: it has no counterpart.
        ValueError: a variable is missing or invalid; the text names it.
    """
    made = [] if function in IDLE else _MAKERS[function](given)
    # what cannot be shaped must not leave as it is
    return [{**step, "on_error": "dead_letter"} for step in made]


def is_raw(given: Given) -> bool:
    """Return True for a pipeline that takes payloads as they are, and not the events in them."""
    return flag(given, _RAW_1) or given.get(_RAW, "event").lower() == "raw"


def unwrapping(*, shaped: bool) -> Step:
    """Return the step that goes before all others of a pipeline, whose functions and exports get the event alone.

    Args:
        shaped: others follow. What cannot be shaped must not leave as it is; otherwise it is the export's, as the bus had it.
    """
    return {"type": "edgex_event", "on_error": "dead_letter" if shaped else "pass"}


def needs_events(function: str) -> bool:
    """Return True for a function that reads the event."""
    return function in {*_OF_EVENTS, *_OF_READINGS, "ADDTAGS"}


def _listed(given: Given, name: str) -> list[str]:
    return [each.strip() for each in given.get(name, "").split(",") if each.strip()]


def _names(given: Given, function: str, parameter: str) -> tuple[str, list[str], bool]:
    """Return the variable, the names in it and whether they are filtered out."""
    name = _parameter(function, parameter)
    return name, _listed(given, name), flag(given, _parameter(function, "FILTEROUT"))


def _among(names: list[str], where: str) -> str:
    """Return the expression that looks for a name in a list."""
    texts = json.dumps(names).replace("`", "\\`")
    return f"contains(`{texts}`, {where})"


def _of_events(given: Given, function: str) -> list[Step]:
    parameter, where = _OF_EVENTS[function]
    variable, names, out = _names(given, function, parameter)
    if not names:
        return []  # as in EdgeX, which lets everything through then
    if any(map(_EXPRESSION.search, names)):
        pattern = "|".join(f"(?:{each})" for each in names)
        made: Step = {"fields": [{"field": where.partition(" ")[0], "matches": FromVariable(variable, pattern)}]}
    else:
        made = {"where": FromVariable(variable, _among(names, where))}
    return [{"type": "filter", **made, "invert": out}]


def _of_readings(given: Given, function: str) -> list[Step]:
    variable, names, out = _names(given, function, _OF_READINGS[function])
    if not names:
        return []
    if any(map(_EXPRESSION.search, names)):
        raise ValueError(f"{variable}: readings are filtered by names, not by expressions; use `split` and `filter` in a file")
    kept = f"readings[?{'!' if out else ''}{_among(names, 'resourceName || name')}]"
    expression = FromVariable(variable, f"merge(@, {{readings: {kept}}})")
    return [{"type": "project", "expression": expression}, {"type": "filter", "where": "readings"}]


def _tags(given: Given) -> list[Step]:
    tags = {}
    for each in _listed(given, _TAGS):
        key, colon, value = (part.strip() for part in each.partition(":"))
        if not (key and colon and value) or ":" in value:
            raise ValueError(f"{_TAGS}: should be a list such as site:north,line:7")
        tags["tags." + key.replace("\\", "\\\\").replace(".", "\\.")] = FromVariable(_TAGS, literal(value))
    if _TAGS not in given:
        raise ValueError(f"{_TAGS}: is missing; set it to a list such as site:north,line:7")
    return [{"type": "tags", "tags": tags}] if tags else []


def _transform(given: Given) -> list[Step]:
    if given.get(_TYPE, "json").lower() != "json":
        raise ValueError(f"{_TYPE}: only json is available; EdgeX's form of XML has no definition outside of its code")
    return []


def _compress(given: Given, algorithm: str | None = None) -> list[Step]:
    chosen = algorithm or given.get(_COMPRESS, "").lower()
    if chosen not in ("gzip", "zlib"):
        raise ValueError(f"{_COMPRESS}: should be gzip or zlib")
    return [{"type": "compress", "algorithm": chosen, "base64": True}]


def _encrypt(given: Given) -> list[Step]:
    if given.get(_ENCRYPT, "aes256").lower() != "aes256":
        raise ValueError(f"{_ENCRYPT}: should be aes256; the AES-128 of 1.3 has a fixed vector and no authentication")
    step: Step = {"type": "encrypt", "format": "edgex"}
    if _KEY in given:
        return [{**step, "key": FromVariable(_KEY, given[_KEY], secret=True)}]
    if _KEY_FILE in given:
        return [{**step, "key_file": FromVariable(_KEY_FILE, given[_KEY_FILE])}]
    raise ValueError(
        f"{_ENCRYPT}: the key was in EdgeX's secret store; set {_KEY} to it, in hexadecimal, or {_KEY_FILE} to a file that holds it"
    )


_MAKERS: Final[Mapping[str, Callable[[Given], list[Step]]]] = {
    **{function: partial(_of_events, function=function) for function in _OF_EVENTS},
    **{function: partial(_of_readings, function=function) for function in _OF_READINGS},
    **{function: partial(_compress, algorithm=algorithm) for function, algorithm in _ALGORITHMS.items()},
    "ADDTAGS": _tags,
    "TRANSFORM": _transform,
    "COMPRESS": _compress,
    "ENCRYPT": _encrypt,
}
SHAPING: Final = frozenset(_MAKERS) | IDLE
"""Functions that are read from variables, besides the exports."""
