"""Functions of an EdgeX pipeline shape what is exported as they did there; each is tried on events."""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from pathlib import Path
from typing import Any

import pytest

from edgerouter import ConfigurationError, Message, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.pipeline.shaping.trial import Trial
from edgerouter.steps.sealing import open_sealed, parse_key

FUNCTIONS = "WRITABLE_PIPELINE_FUNCTIONS_"
ORDER = "WRITABLE_PIPELINE_EXECUTIONORDER"
MQTT = {f"{FUNCTIONS}MQTTEXPORT_PARAMETERS_BROKERADDRESS": "tcp://broker.example:1883"}
HTTP = {f"{FUNCTIONS}HTTPPOSTJSON_PARAMETERS_URL": "http://example.com/"}
KEY = "0123456789abcdef" * 8


def event(device: str, *resources: str, profile: str = "pumps", source: str = "all") -> dict[str, Any]:
    readings = [{"resourceName": resource, "value": "1"} for resource in resources or ("rpm",)]
    return {"id": "e", "profileName": profile, "deviceName": device, "sourceName": source, "readings": readings}


def old_event(device: str, *names: str) -> dict[str, Any]:
    """Return an event of EdgeX 1.3."""
    return {"device": device, "readings": [{"name": name, "value": "1"} for name in names]}


def parameters(**functions: str) -> dict[str, str]:
    """Return variables such as `FILTERBYDEVICENAME_PARAMETERS_DEVICENAMES` from `FILTERBYDEVICENAME__DEVICENAMES`."""
    return {f"{FUNCTIONS}{name.replace('__', '_PARAMETERS_')}": value for name, value in functions.items()}


def bodies(variables: dict[str, str], *events: Any, sink: str = "mqtt-export") -> tuple[list[bytes], list[str]]:
    """Return what a sink sends for events in envelopes of EdgeX 4, and why some become dead letters."""
    config = CloudBlock({**MQTT, **variables}).load(plugins)
    (configured,) = (each for each in config.sinks if each.name == sink)
    trial = Trial(configured, "box", "spool")
    sent: list[Message] = []
    for number, each in enumerate(events, start=1):
        payload = json.dumps({"apiVersion": "v3", "payload": {"event": each}}).encode()
        sent += trial.put(Message("edgex/events/device/x", payload, number, spool="spool", sequence=number))
    return [message.payload for message in sent + trial.end()], [reason for _, reason in trial.rejected]


def exported(variables: dict[str, str], *events: Any, **more: str) -> list[Any]:
    found, rejected = bodies(variables, *events, **more)
    assert rejected == []
    return list(map(json.loads, found))


def problems(variables: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        CloudBlock({**MQTT, **variables}).load(plugins)
    return "\n".join(raised.value.problems)


EVENTS = [
    event("pump-1", "rpm", profile="pumps", source="all"),
    event("pump-2", "rpm", "debug", profile="pumps", source="rpm"),
    event("fan", "debug", profile="fans", source="debug"),
]


@pytest.mark.parametrize(
    ("function", "names", "kept"),
    [
        ("FILTERBYDEVICENAME__DEVICENAMES", "pump-1, fan", [0, 2]),
        ("FILTERBYDEVICENAME__DEVICENAMES", "pump-[0-9]$,none", [0, 1]),
        ("FILTERBYDEVICENAME__DEVICENAMES", "pump", []),
        ("FILTERBYPROFILENAME__PROFILENAMES", "fans", [2]),
        ("FILTERBYSOURCENAME__SOURCENAMES", "all,rpm", [0, 1]),
        ("FILTERBYSOURCENAME__SOURCENAMES", "^d", [2]),
    ],
)
def test_events_are_filtered_by_name_or_expression_in_or_out(function: str, names: str, kept: list[int]) -> None:
    name = function.partition("_")[0]
    variables = {ORDER: f"{name}, Transform, MQTTExport", **parameters(**{function: names})}
    assert exported(variables, *EVENTS) == [EVENTS[number] for number in kept]
    left = [each for number, each in enumerate(EVENTS) if number not in kept]
    assert exported({**variables, **parameters(**{f"{name}__FILTEROUT": "true"})}, *EVENTS) == left


def test_a_filter_without_names_lets_everything_through() -> None:
    """As in EdgeX."""
    config = CloudBlock({**MQTT, ORDER: "FilterByDeviceName, MQTTExport", **parameters(FILTERBYDEVICENAME__DEVICENAMES=" , ")})
    assert [step.type for step in config.load(plugins).sinks[0].steps] == ["edgex_event"]


def test_readings_are_filtered_and_an_event_without_any_left_is_not_exported() -> None:
    variables = {ORDER: "FilterByResourceName, MQTTExport", **parameters(FILTERBYRESOURCENAME__RESOURCENAMES="rpm,`,x")}
    assert exported(variables, *EVENTS) == [EVENTS[0], event("pump-2", "rpm", source="rpm")]
    out = exported({**variables, **parameters(FILTERBYRESOURCENAME__FILTEROUT="true")}, *EVENTS)
    assert out == [event("pump-2", "debug", source="rpm"), EVENTS[2]]


def test_filters_of_1_3_read_the_events_of_1_3() -> None:
    variables = {
        ORDER: "FilterByDeviceName, FilterByValueDescriptor, TransformToJSON, MQTTExport",
        **parameters(FILTERBYDEVICENAME__DEVICENAMES="pump", FILTERBYVALUEDESCRIPTOR__VALUEDESCRIPTORS="rpm"),
    }
    assert exported(variables, old_event("pump", "rpm", "x"), old_event("pump", "x"), old_event("fan", "rpm")) == [
        old_event("pump", "rpm")
    ]


def test_tags_are_added_to_those_of_the_event() -> None:
    variables = {ORDER: "AddTags, MQTTExport", **parameters(ADDTAGS__TAGS="site:north, a.b:{x}")}
    (found,) = exported(variables, {**event("pump"), "tags": {"line": "7"}})
    assert found["tags"] == {"line": "7", "site": "north", "a.b": "{x}"}


@pytest.mark.parametrize(
    ("order", "more", "decompress"),
    [
        ("CompressWithGZIP", {}, gzip.decompress),
        ("CompressWithZLIB", {}, zlib.decompress),
        ("Compress", {"COMPRESS__ALGORITHM": "ZLIB"}, zlib.decompress),
    ],
)
def test_compressed_events_are_in_base64(order: str, more: dict[str, str], decompress: Any) -> None:
    (body,), _ = bodies({ORDER: f"{order}, MQTTExport", **parameters(**more)}, EVENTS[0])
    assert json.loads(decompress(base64.b64decode(body))) == EVENTS[0]


@pytest.mark.parametrize("from_file", [False, True])
def test_events_are_encrypted_with_the_key_that_is_named(from_file: bool, tmp_path: Path) -> None:
    (tmp_path / "key").write_text(KEY)
    key = {"EDGEROUTER_EDGEX_KEY_FILE": str(tmp_path / "key")} if from_file else {"EDGEROUTER_EDGEX_KEY": KEY}
    variables = {ORDER: "Transform, Encrypt, MQTTExport", **parameters(ENCRYPT__ALGORITHM="aes256", ENCRYPT__SECRETNAME="aes")}
    (body,), _ = bodies({**variables, **key}, EVENTS[0])
    assert json.loads(open_sealed(body, parse_key(KEY, "edgex"))) == EVENTS[0]
    assert KEY not in repr(CloudBlock({**MQTT, **variables, **key}).load(plugins))


def test_each_export_sends_what_the_functions_before_it_have_made() -> None:
    variables = {
        **HTTP,
        ORDER: "HTTPPostJSON, FilterByDeviceName, MQTTExport, AddTags",
        **parameters(FILTERBYDEVICENAME__DEVICENAMES="fan", ADDTAGS__TAGS="site:north"),
    }
    assert exported(variables, *EVENTS) == [EVENTS[2]]
    assert exported(variables, *EVENTS, sink="http-export") == EVENTS


def test_a_payload_without_an_event_becomes_a_dead_letter() -> None:
    variables = {ORDER: "FilterByDeviceName, MQTTExport", **parameters(FILTERBYDEVICENAME__DEVICENAMES="fan")}
    sent, rejected = bodies({**variables, **parameters(FILTERBYDEVICENAME__FILTEROUT="true")}, "no event")
    assert sent == []
    assert "1:edgex_event" in rejected[0]


@pytest.mark.parametrize("order", [{}, {ORDER: "TransformToJSON, MQTTExport, MarkAsPushed"}, {ORDER: "MQTTExport"}])
def test_an_export_alone_sends_the_event_and_not_what_the_bus_wraps_around_it(order: dict[str, str]) -> None:
    """As in EdgeX, whose consumers know nothing of the envelope. What holds no event goes out as it is: nothing was to shape it."""
    assert exported(order, *EVENTS) == EVENTS
    assert exported(order, "no event") == [{"apiVersion": "v3", "payload": {"event": "no event"}}]


def test_an_export_of_messages_that_are_not_from_the_bus_passes_them_on_as_they_are() -> None:
    broker = {"MQTT_HOST": "broker.example", "RELAY_OUT_TOPIC": "telemetry"}
    assert exported(broker, EVENTS[0]) == [{"apiVersion": "v3", "payload": {"event": EVENTS[0]}}]


@pytest.mark.parametrize("raw", [{"WRITABLE_PIPELINE_USETARGETTYPEOFBYTEARRAY": "true"}, {"WRITABLE_PIPELINE_TARGETTYPE": "raw"}])
def test_a_raw_pipeline_takes_payloads_as_they_are(raw: dict[str, str]) -> None:
    assert exported(raw, EVENTS[0]) == [{"apiVersion": "v3", "payload": {"event": EVENTS[0]}}]
    (body,), _ = bodies({ORDER: "CompressWithGZIP, MQTTExport", **raw}, EVENTS[0])
    assert json.loads(gzip.decompress(base64.b64decode(body))) == {"apiVersion": "v3", "payload": {"event": EVENTS[0]}}
    assert "ADDTAGS needs events" in problems({ORDER: "AddTags, MQTTExport", **parameters(ADDTAGS__TAGS="a:b"), **raw})


@pytest.mark.parametrize(
    ("order", "more", "said"),
    [
        ("Compress", {}, "COMPRESS_PARAMETERS_ALGORITHM: should be gzip or zlib"),
        ("Encrypt", {}, "the key was in EdgeX's secret store; set EDGEROUTER_EDGEX_KEY to it"),
        ("Encrypt", {"ENCRYPT__ALGORITHM": "aes"}, "ENCRYPT_PARAMETERS_ALGORITHM: should be aes256"),
        ("Transform", {"TRANSFORM__TYPE": "xml"}, "TRANSFORM_PARAMETERS_TYPE: only json"),
        ("AddTags", {"ADDTAGS__TAGS": "site"}, "ADDTAGS_PARAMETERS_TAGS: should be a list such as"),
        ("AddTags", {}, "ADDTAGS_PARAMETERS_TAGS: is missing"),
        ("FilterByResourceName", {"FILTERBYRESOURCENAME__RESOURCENAMES": "^r"}, "filtered by names, not by expressions"),
        ("FilterByDeviceName", {"FILTERBYDEVICENAME__DEVICENAMES": "a("}, "FILTERBYDEVICENAME_PARAMETERS_DEVICENAMES"),
        ("FilterByDeviceName", {"FILTERBYDEVICENAME__DEVICENAMES": "a", "FILTERBYDEVICENAME__FILTEROUT": "x"}, "true or false"),
    ],
)
def test_what_cannot_be_done_stops_the_start_and_names_the_variable(order: str, more: dict[str, str], said: str) -> None:
    assert said in problems({ORDER: f"{order}, MQTTExport", **parameters(**more)})
