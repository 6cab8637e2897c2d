"""The preset of EdgeX's application services: exports as sinks, the message bus as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from edgerouter.cloudblock.edgex import http_export, message_bus, mqtt_export
from edgerouter.cloudblock.edgex.values import FUNCTIONS, Given, begin_with, listed
from edgerouter.variables import Preset

_STORE: Final = "WRITABLE_STOREANDFORWARD_"
_ORDER: Final = "WRITABLE_PIPELINE_EXECUTIONORDER"
_PROFILE: Final = "EDGEX_PROFILE"
_DEVICES: Final = f"{FUNCTIONS}FILTERBYDEVICENAME_PARAMETERS_DEVICENAMES"
_PAGE: Final = "docs/how-to/coming-from-edgex.md"

_SINKS: Final[Mapping[str, tuple[str, Callable[[Given], dict[str, Any]]]]] = {
    "MQTTSEND": (mqtt_export.SINK, mqtt_export.send),
    "MQTTSECRETSEND": (mqtt_export.SINK, mqtt_export.secret_send),
    "MQTTEXPORT": (mqtt_export.SINK, mqtt_export.export),
    **{function: (http_export.SINK, partial(http_export.send, function=function)) for function in http_export.NAMES},
}
"""Name of the sink, and what makes it, by function."""
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {**mqtt_export.NAMES, **http_export.NAMES}
_BY_PROFILE: Final = {"mqtt-export": "MQTTSEND", "http-export": "HTTPPOSTJSON"}
_IN_EFFECT: Final = frozenset({"TRANSFORMTOJSON", "MARKASPUSHED", "SETOUTPUTDATA", "SETRESPONSEDATA"})
"""Functions that change nothing here: payloads are passed on as they come, and each sink's position says what was sent."""


def make(given: Given) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the sinks of the functions that the pipeline runs, and the source that feeds them."""
    sinks: dict[str, dict[str, Any]] = {}
    for function in _running(given):
        name, sink = _SINKS[function]
        if name in sinks:
            raise ValueError(f"{_ORDER}: {function} is a second export of its kind; write both as sinks in a file")
        sinks[name] = sink(given)
    if sinks and _DEVICES in given and http_export.SINK in sinks:
        raise ValueError(
            f"{_DEVICES}: is not read, so more than before would be exported; filter with a step in a file, see {_PAGE}"
        )
    if not sinks and not message_bus.named(given):
        return {}
    source = message_bus.source(given)
    return {"sinks": sinks, "sources": {message_bus.SOURCE: source} if source is not None else {}}


def _running(given: Given) -> list[str]:
    """Return the exports that the pipeline runs: those in its order, or else those whose variables are set."""
    if _ORDER in given:
        functions = [name.strip().upper() for name in given[_ORDER].split(",") if name.strip()]
        idle = {*_SINKS, *_IN_EFFECT} | ({"FILTERBYDEVICENAME"} if _DEVICES not in given else set())
        foreign = [name for name in functions if name not in idle]
        if foreign:
            raise ValueError(
                f"{_ORDER}: {listed(foreign)} not read from variables, so other data than before would be exported;"
                f" write the sink with steps in a file, or take it out of the order to export without; see {_PAGE}"
            )
        return [name for name in functions if name in _SINKS]
    set_up = [function for function in _SINKS if any(name in given for name in _NAMES[function])]
    profile = _BY_PROFILE.get(given.get(_PROFILE, ""))
    return set_up or ([profile] if profile is not None else [])


def notes(given: Given) -> Sequence[str]:
    """Return a line for each variable that is accepted and has no effect, or not the whole one."""
    return list(_notes(given)) if _running(given) else []


def _notes(given: Given) -> Iterator[str]:
    if names := begin_with(given, _STORE):
        yield (
            f"{listed(names)} not needed: the spool stores every message before it is acknowledged, and a sink tries again in order"
            " and for ever; retry.give_up_after bounds that"
        )
    if given.get(_PROFILE, "mqtt-export") not in _BY_PROFILE:
        yield f"{_PROFILE}: only {' and '.join(_BY_PROFILE)} have a counterpart here; see {_PAGE}"
    yield from mqtt_export.notes(given)
    yield from http_export.notes(given)


PRESETS: Final = (
    Preset(
        name="edgex",
        names=(
            *(name for names in _NAMES.values() for name in names),
            *(_STORE + name for name in ("ENABLED", "RETRYINTERVAL", "MAXRETRYCOUNT")),
            *(_ORDER, _PROFILE, _DEVICES, *message_bus.NAMES),
        ),
        make=make,
        generic=(_PROFILE, *message_bus.NAMES),
        notes=notes,
        families={
            FUNCTIONS: f"it has no counterpart among the variables here; {_PAGE} lists steps that do the same",
            _STORE: f"no setting of this name exists in EdgeX; the spool always stores, see {_PAGE}",
            "WRITABLE_PIPELINE_": f"only the order and the exports of a pipeline are read; see {_PAGE}",
        },
    ),
)
