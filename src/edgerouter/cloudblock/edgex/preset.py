"""The preset of EdgeX's application services: exports as sinks, the message bus as a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any, Final

from edgerouter.cloudblock.edgex import functions, http_export, message_bus, mqtt_export
from edgerouter.cloudblock.edgex.values import FUNCTIONS, Given, begin_with, listed
from edgerouter.variables import Preset

_STORE: Final = "WRITABLE_STOREANDFORWARD_"
_ORDER: Final = "WRITABLE_PIPELINE_EXECUTIONORDER"
_PROFILE: Final = "EDGEX_PROFILE"
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


def make(given: Given) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Return the sinks of the functions that the pipeline runs, with their steps, and the source that feeds them."""
    pipeline = _pipeline(given)
    if not message_bus.named(given) and not any(function in _SINKS for function in pipeline):
        return {}
    source = message_bus.source(given)
    sinks: dict[str, dict[str, Any]] = {}
    steps: list[dict[str, Any]] = []
    for function in pipeline:
        if function not in _SINKS:
            steps += _steps(given, function)
            continue
        name, sink = _SINKS[function]
        if name in sinks:
            raise ValueError(f"{_ORDER}: {function} is a second export of its kind; write both as sinks in a file")
        # each export sends what the functions before it have made, and at least the event: what the bus wraps around it is EdgeX's
        unwraps = not functions.is_raw(given) and (steps or source is not None)
        made = [*([functions.unwrapping(shaped=bool(steps))] if unwraps else []), *steps]
        sinks[name] = {**sink(given), **({"steps": made} if made else {})}
    return {"sinks": sinks, "sources": {message_bus.SOURCE: source} if source is not None else {}}


def _steps(given: Given, function: str) -> list[dict[str, Any]]:
    made = functions.steps_of(function, given)
    if made and functions.is_raw(given) and functions.needs_events(function):
        raise ValueError(f"{_ORDER}: {function} needs events, and the pipeline's target type is raw")
    return made


def _pipeline(given: Given) -> list[str]:
    """Return the functions that the pipeline runs: those in its order, or else the exports whose variables are set."""
    if _ORDER in given:
        order = [name.strip().upper() for name in given[_ORDER].split(",") if name.strip()]
        foreign = [name for name in order if name not in _SINKS and name not in functions.SHAPING]
        if foreign:
            raise ValueError(
                f"{_ORDER}: {listed(foreign)} not read from variables, so other data than before would be exported;"
                f" write the sink with steps in a file, or take it out of the order to export without; see {_PAGE}"
            )
        return order
    set_up = [function for function in _SINKS if any(name in given for name in _NAMES[function])]
    profile = _BY_PROFILE.get(given.get(_PROFILE, ""))
    exports = set_up or ([profile] if profile is not None else [])
    if not functions.filters_devices(given):
        return exports
    # the default order of http-export begins with that filter, and that of mqtt-export has none
    over_mqtt = [function for function in exports if function not in http_export.NAMES]
    over_http = [function for function in exports if function in http_export.NAMES]
    return [*over_mqtt, *(["FILTERBYDEVICENAME"] if over_http else []), *over_http]


def notes(given: Given) -> Sequence[str]:
    """Return a line for each variable that is accepted and has no effect, or not the whole one."""
    return list(_notes(given)) if any(function in _SINKS for function in _pipeline(given)) else []


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
            *(_ORDER, _PROFILE, *functions.NAMES, *message_bus.NAMES),
        ),
        make=make,
        generic=(_PROFILE, *message_bus.NAMES),
        notes=notes,
        families={
            FUNCTIONS: f"it has no counterpart among the variables here; {_PAGE} lists steps that do the same",
            _STORE: f"no setting of this name exists in EdgeX; the spool always stores, see {_PAGE}",
            "WRITABLE_PIPELINE_": f"only the order, the exports and some functions of a pipeline are read; see {_PAGE}",
        },
    ),
)
