"""The message bus of EdgeX on MQTT is the source of its exports."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock

ON = {"WRITABLE_PIPELINE_FUNCTIONS_MQTTSEND_ADDRESSABLE_ADDRESS": "cloud.example"}
OLD, SECOND = "MESSAGEBUS_SUBSCRIBEHOST_", "TRIGGER_EDGEXMESSAGEBUS_SUBSCRIBEHOST_"


def sources(variables: dict[str, str]) -> dict[str, tuple[str, list[str]]]:
    found: dict[str, tuple[str, list[str]]] = {}
    for source in CloudBlock({**ON, **variables}).load(plugins).sources:
        config: Any = source.config
        found[source.name] = (config.url, [each.topic for each in config.topics])
    return found


def problems(variables: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        CloudBlock({**ON, **variables}).load(plugins)
    return "\n".join(raised.value.problems)


def test_by_default_it_is_at_this_host_with_the_topics_of_events() -> None:
    assert sources({}) == {"edgex": ("mqtt://localhost:1883", ["edgex/events/#"])}


@pytest.mark.parametrize("prefix", ["MESSAGEBUS_", SECOND])
def test_host_port_and_protocol_of_versions_2_to_4(prefix: str) -> None:
    variables = {f"{prefix}HOST": "edgex-mqtt-broker", f"{prefix}PORT": "8883", f"{prefix}PROTOCOL": "tcps"}
    assert sources(variables) == {"edgex": ("mqtts://edgex-mqtt-broker:8883", ["edgex/events/#"])}


def test_the_bus_of_1_3_is_read_where_it_is_on_mqtt() -> None:
    assert sources({f"{OLD}HOST": "b", "MESSAGEBUS_TYPE": "mqtt"}) == {"edgex": ("mqtt://b:1883", ["events"])}
    topic = {"BINDING_SUBSCRIBETOPIC": "plant/events"}
    assert sources({f"{OLD}HOST": "b", "MESSAGEBUS_TYPE": "mqtt", **topic})["edgex"][1] == ["plant/events"]


@pytest.mark.parametrize(
    ("variables", "name", "kind"),
    [
        ({f"{OLD}HOST": "edgex-core-data"}, "MESSAGEBUS_TYPE", "zero"),
        ({"MESSAGEBUS_TYPE": "redis"}, "MESSAGEBUS_TYPE", "redis"),
        ({"TRIGGER_EDGEXMESSAGEBUS_TYPE": "redis"}, "TRIGGER_EDGEXMESSAGEBUS_TYPE", "redis"),
    ],
)
def test_a_bus_of_another_kind_is_refused_with_the_cure(variables: dict[str, str], name: str, kind: str) -> None:
    assert f"{name}: the message bus must be on MQTT to be read from here, and is {kind!r}; set it to mqtt" in problems(variables)


def test_topics_are_a_list_below_the_prefix_of_the_bus() -> None:
    topics = {"TRIGGER_SUBSCRIBETOPICS": "events/device/#, edgex/system-events/#"}
    assert sources(topics)["edgex"][1] == ["edgex/events/device/#", "edgex/system-events/#"]
    assert sources({**topics, "MESSAGEBUS_BASETOPICPREFIX": "plant"})["edgex"][1][0] == "plant/events/device/#"
    assert sources({f"{SECOND}SUBSCRIBETOPICS": "edgex/events/a/#"})["edgex"][1] == ["edgex/events/a/#"]


def test_the_external_trigger_is_another_broker() -> None:
    variables = {"TRIGGER_EXTERNALMQTT_URL": "tcps://devices:8883", "TRIGGER_SUBSCRIBETOPICS": "a/+,b"}
    assert sources({**variables, "TRIGGER_EXTERNALMQTT_QOS": "2"}) == {"edgex": ("mqtts://devices:8883", ["a/+", "b"])}
    more = {
        "TRIGGER_EXTERNALMQTT_SKIPCERTVERIFY": "true",
        "TRIGGER_EXTERNALMQTT_KEEPALIVE": "20s",
        "TRIGGER_EXTERNALMQTT_CLIENTID": "x",
    }
    (source,) = CloudBlock({**ON, **variables, **more}).load(plugins).sources
    made: Any = source.config
    assert (made.tls.insecure, made.keepalive, made.client_id) == (True, 20, "x")
    assert "TRIGGER_SUBSCRIBETOPICS: is missing" in problems({"TRIGGER_EXTERNALMQTT_URL": "tcp://devices:1883"})


def test_the_cloud_blocks_broker_takes_its_place_unless_the_bus_is_named() -> None:
    block = {"MQTT_HOST": "mqtt", "RELAY_OUT_TOPIC": "up"}
    assert sources(block) == {"local": ("mqtt", ["up"])}
    assert set(sources({**block, f"{OLD}HOST": "edgex-core-data"})) == {"local"}, "that of 1.3 is not on MQTT"
    assert set(sources({**block, "MESSAGEBUS_HOST": "edgex-mqtt-broker"})) == {"local", "edgex"}


@pytest.mark.parametrize(("name", "value"), [("MESSAGEBUS_PORT", "x"), ("MESSAGEBUS_PROTOCOL", "redis")])
def test_an_invalid_value_names_its_variable(name: str, value: str) -> None:
    assert f"{name}: should be" in problems({"MESSAGEBUS_HOST": "b", name: value})
