"""EdgeX's pipeline decides which exports run; what has no counterpart is reported, never left out silently."""

from __future__ import annotations

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.model import RouterConfig

FUNCTIONS = "WRITABLE_PIPELINE_FUNCTIONS_"
ORDER = "WRITABLE_PIPELINE_EXECUTIONORDER"
MQTT = {f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_ADDRESS": "broker.example"}
HTTP = {f"{FUNCTIONS}HTTPPOSTJSON_PARAMETERS_URL": "http://example.com/"}


def load(variables: dict[str, str]) -> RouterConfig:
    return CloudBlock(variables).load(plugins)


def problems(variables: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(variables)
    return "\n".join(raised.value.problems)


def names(variables: dict[str, str]) -> list[str]:
    return [sink.name for sink in load(variables).sinks]


def test_all_exports_run_that_are_set_up() -> None:
    assert names({**MQTT, **HTTP}) == ["mqtt-export", "http-export"]


@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("TransformToJSON, MQTTSend, MarkAsPushed", ["mqtt-export"]),
        ("FilterByDeviceName, TransformToJSON, HTTPPostJSON, MarkAsPushed", ["http-export"]),
        ("HTTPPostJSON,MQTTSend", ["http-export", "mqtt-export"]),
    ],
)
def test_the_order_says_which_exports_run(order: str, expected: list[str]) -> None:
    assert names({**MQTT, **HTTP, ORDER: order}) == expected


@pytest.mark.parametrize(
    "function", ["EncryptWithAES", "JSONLogic", "BatchByCount", "Batch", "TransformToXML", "WrapIntoEvent", "ToLineProtocol"]
)
def test_a_step_that_is_not_read_stops_the_start(function: str) -> None:
    """Otherwise data would leave unencrypted, or more of it than before."""
    text = problems({**MQTT, ORDER: f"TransformToJSON, {function}, MQTTSend"})
    assert f"{ORDER}: {function.upper()} is not read from variables" in text
    assert "docs/how-to/coming-from-edgex.md" in text


def test_the_default_order_filters_devices_before_http_alone() -> None:
    devices = {f"{FUNCTIONS}FILTERBYDEVICENAME_PARAMETERS_DEVICENAMES": "pump"}
    steps = {sink.name: [step.type for step in sink.steps] for sink in load({**MQTT, **HTTP, **devices}).sinks}
    assert steps == {"mqtt-export": ["edgex_event"], "http-export": ["edgex_event", "filter"]}


def test_two_exports_of_a_kind_are_refused() -> None:
    second = {f"{FUNCTIONS}HTTPPUTJSON_PARAMETERS_URL": "http://example.com/"}
    assert "HTTPPUTJSON is a second export of its kind; write both as sinks in a file" in problems({**HTTP, **second})


def test_store_and_forward_is_accepted_and_explained() -> None:
    store = "WRITABLE_STOREANDFORWARD_"
    variables = {f"{store}ENABLED": "true", f"{store}RETRYINTERVAL": "5m", f"{store}MAXRETRYCOUNT": "10"}
    (line,) = load({**MQTT, **variables}).unread
    assert line.startswith(f"{store}ENABLED, {store}MAXRETRYCOUNT and {store}RETRYINTERVAL are not needed: the spool stores every")
    assert "retry.give_up_after" in line


@pytest.mark.parametrize(
    ("name", "said"),
    [
        (f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_TOPPIC", f"did you mean {FUNCTIONS}MQTTSEND_ADDRESSABLE_TOPIC?"),
        (f"{FUNCTIONS}ENCRYPTWITHAES_PARAMETERS_KEY", "it has no counterpart among the variables here"),
        ("WRITABLE_STOREANDFORWARD_DATABASE", "no setting of this name exists in EdgeX"),
        ("WRITABLE_PIPELINE_PERTOPICPIPELINES", "only the order, the exports and some functions of a pipeline are read"),
    ],
)
def test_an_unknown_variable_of_the_families_is_reported_with_its_cure(name: str, said: str) -> None:
    (line,) = load({**MQTT, name: "x"}).unread
    assert line.startswith(f"{name} is not read")
    assert said in line


def test_variables_of_edgex_that_mean_nothing_here_are_accepted() -> None:
    others = (
        *("EDGEX_SERVICE_KEY", "EDGEX_SECURITY_SECRET_STORE", "SERVICE_HOST", "SERVICE_PORT", "REGISTRY_HOST"),
        *("CLIENTS_COREDATA_HOST", "CLIENTS_METADATA_HOST", "DATABASES_PRIMARY_HOST", "BINDING_PUBLISHTOPIC", "WRITABLE_LOGLEVEL"),
    )
    config = load({**MQTT, **dict.fromkeys(others, "x")})
    assert (config.unread, config.off) == ((), ())


def test_a_profile_demands_its_destination() -> None:
    assert names({**MQTT, "EDGEX_PROFILE": "mqtt-export"}) == ["mqtt-export"]
    assert f"{FUNCTIONS}MQTTSEND_ADDRESSABLE_ADDRESS: is missing" in problems({"EDGEX_PROFILE": "mqtt-export"})
    assert f"{FUNCTIONS}HTTPPOSTJSON_PARAMETERS_URL: is missing" in problems({"EDGEX_PROFILE": "http-export"})
    (line,) = load({**MQTT, "EDGEX_PROFILE": "push-to-core"}).unread
    assert line.startswith("EDGEX_PROFILE: only mqtt-export and http-export have a counterpart here")


def test_an_invalid_variable_is_the_only_thing_reported() -> None:
    """Two lines before it said that no sink and no source were set up, although variables for both were there."""
    line = problems({**MQTT, f"{FUNCTIONS}MQTTSEND_PARAMETERS_QOS": "3"})
    assert line == f"environment: {FUNCTIONS}MQTTSEND_PARAMETERS_QOS: should be a whole number from 0 to 2"


def test_the_bus_feeds_other_sinks_too() -> None:
    config = load({"MESSAGEBUS_HOST": "edgex-mqtt-broker", "EDGEROUTER__SINKS__OUT__TYPE": "stdout"})
    assert [source.name for source in config.sources] == ["edgex"]
    assert [sink.name for sink in config.sinks] == ["out"]


def test_nothing_is_set_up_without_its_variables() -> None:
    assert "edgex" not in problems({})
