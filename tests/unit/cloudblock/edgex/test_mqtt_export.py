"""The variables of EdgeX's MQTT exports make an MQTT sink, each as it did there.

Covers also: edgerouter.cloudblock.edgex.values.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.model import RouterConfig
from support.certificates import Authority

SEND = "WRITABLE_PIPELINE_FUNCTIONS_MQTTSEND_"
TO, HOW = f"{SEND}ADDRESSABLE_", f"{SEND}PARAMETERS_"
SECRET_SEND = "WRITABLE_PIPELINE_FUNCTIONS_MQTTSECRETSEND_PARAMETERS_"
EXPORT = "WRITABLE_PIPELINE_FUNCTIONS_MQTTEXPORT_PARAMETERS_"
ON = {f"{TO}ADDRESS": "broker.example"}
SECURE = {**ON, f"{TO}PROTOCOL": "tcps", f"{TO}PORT": "8883"}


def load(variables: dict[str, str]) -> RouterConfig:
    return CloudBlock(variables).load(plugins)


def sink(variables: dict[str, str]) -> Any:
    (made,) = load(variables).sinks
    assert (made.name, made.type) == ("mqtt-export", "mqtt")
    return made.config


def problems(variables: dict[str, str]) -> str:
    with pytest.raises(ConfigurationError) as raised:
        load(variables)
    return "\n".join(raised.value.problems)


@pytest.fixture
def certificate(tmp_path: Path) -> dict[str, str]:
    files = Authority(tmp_path).issue("device")
    return {f"{HOW}CERT": str(files.certificate), f"{HOW}KEY": str(files.key)}


def test_the_address_alone_switches_it_on_with_the_profiles_defaults() -> None:
    made = sink(ON)
    assert (made.url, made.topic, made.retain, made.client_id) == ("mqtt://broker.example:1883", "edgex-events", "never", None)
    assert made.qos == 1, "with EdgeX's 0 the broker confirms nothing"


def test_without_the_address_it_is_named_and_nothing_starts() -> None:
    assert f"{TO}ADDRESS: is missing; set it to the host of the broker" in problems({f"{TO}TOPIC": "up"})


@pytest.mark.parametrize(
    ("protocol", "url"),
    [("tcp", "mqtt"), ("tcps", "mqtts"), ("ssl", "mqtts"), ("tls", "mqtts"), ("TCP", "mqtt"), ("ws", "ws"), ("wss", "wss")],
)
def test_protocol_and_port_make_the_url(protocol: str, url: str) -> None:
    assert sink({**ON, f"{TO}PROTOCOL": protocol, f"{TO}PORT": "4711"}).url == f"{url}://broker.example:4711"


def test_the_path_counts_for_web_sockets() -> None:
    assert sink({**ON, f"{TO}PROTOCOL": "ws", f"{TO}PATH": "/mqtt"}).url == "ws://broker.example:1883/mqtt"
    assert sink({**ON, f"{TO}PATH": "/mqtt"}).url == "mqtt://broker.example:1883"


def test_an_address_of_version_6_is_bracketed() -> None:
    assert sink({f"{TO}ADDRESS": "fd00::1"}).url == "mqtt://[fd00::1]:1883"


def test_the_publisher_is_the_client_id() -> None:
    assert sink({**ON, f"{TO}PUBLISHER": "plant-export"}).client_id == "plant-export"


def test_user_and_password_are_given_and_not_shown() -> None:
    variables = {**ON, f"{TO}USER": "device", f"{TO}PASSWORD": "geheim"}
    made = sink(variables)
    assert (made.username, made.read_password()) == ("device", "geheim")
    assert "geheim" not in repr(load(variables))
    assert load({**ON, f"{TO}USER": "", f"{TO}PASSWORD": ""}).unread == ()
    assert "geheim" not in problems({f"{TO}PASSWORD": "geheim"})


def test_the_topic_is_a_fixed_text() -> None:
    assert sink({**ON, f"{TO}TOPIC": "plant/{x}/${y}"}).topic == "plant/{{x}}/${{y}}"


@pytest.mark.parametrize("qos", [0, 1, 2])
def test_the_quality_of_service_is_the_one_that_is_set(qos: int) -> None:
    assert sink({**ON, f"{HOW}QOS": str(qos)}).qos == qos


@pytest.mark.parametrize(("text", "retain"), [("true", "always"), ("1", "always"), ("False", "never"), ("f", "never")])
def test_retain_is_read_as_go_reads_it(text: str, retain: str) -> None:
    assert sink({**ON, f"{HOW}RETAIN": text}).retain == retain


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        (f"{HOW}QOS", "3", "should be a whole number from 0 to 2"),
        (f"{HOW}RETAIN", "yes", "should be true or false"),
        (f"{HOW}PERSISTONERROR", "maybe", "should be true or false"),
        (f"{TO}PORT", "http", "should be a whole number from 0 to 65535"),
        (f"{TO}PROTOCOL", "zmq", "unknown protocol; use one of tcp,"),
        (f"{TO}TOPIC", "'up'", "stands in quotes"),
        (f"{HOW}KEY", "/key.pem", "one is set without the other; set both or none"),
    ],
)
def test_an_invalid_value_stops_the_start_and_names_the_variable(name: str, value: str, said: str) -> None:
    text = problems({**ON, name: value})
    assert name in text
    assert said in text


def test_key_and_certificate_count_with_tls(certificate: dict[str, str]) -> None:
    made = sink({**SECURE, **certificate})
    assert (str(made.tls.cert), str(made.tls.key)) == (certificate[f"{HOW}CERT"], certificate[f"{HOW}KEY"])
    assert not made.tls.insecure


def test_key_and_certificate_without_tls_have_no_effect_and_that_is_reported(certificate: dict[str, str]) -> None:
    assert sink({**ON, **certificate}).tls is None
    assert any("have no effect without TLS" in line for line in load({**ON, **certificate}).unread)


def test_skip_verify_counts_beside_key_and_certificate_only(certificate: dict[str, str]) -> None:
    """As in EdgeX; there it looked as if the certificate was not verified, and it was."""
    assert sink({**SECURE, **certificate, f"{HOW}SKIPVERIFY": "true"}).tls.insecure
    config = load({**SECURE, f"{HOW}SKIPVERIFY": "true"})
    assert any(f"{HOW}SKIPVERIFY has no effect" in line for line in config.unread)
    made: Any = config.sinks[0].config
    assert made.tls is None


def test_a_missing_certificate_file_is_named_with_its_variable() -> None:
    assert f"{HOW}CERT: sinks.mqtt-export.tls.cert: no such file" in problems(
        {**SECURE, f"{HOW}CERT": "/missing.pem", f"{HOW}KEY": "/missing.key"}
    )


@pytest.mark.parametrize("value", ["true", "false"])
@pytest.mark.parametrize("name", ["AUTORECONNECT", "PERSISTONERROR"])
def test_what_always_happens_here_is_accepted_and_explained(name: str, value: str) -> None:
    (line,) = load({**ON, HOW + name: value}).unread
    assert line.startswith(f"{HOW}{name} is not needed: the sink always connects again")


@pytest.mark.parametrize(("prefix", "topic"), [(SECRET_SEND, "edgex-events"), (EXPORT, "edgex-export")])
def test_the_later_forms_name_the_broker_by_url(prefix: str, topic: str) -> None:
    made = sink({f"{prefix}BROKERADDRESS": "tcps://localhost:8883", f"{prefix}CLIENTID": "x", f"{prefix}QOS": "2"})
    assert (made.url, made.topic, made.client_id, made.qos) == ("mqtts://localhost:8883", topic, "x", 2)
    assert sink({f"{prefix}BROKERADDRESS": "tcps://b", f"{prefix}SKIPVERIFY": "true"}).tls.insecure
    assert f"{prefix}BROKERADDRESS: is missing" in problems({f"{prefix}TOPIC": "x"})


@pytest.mark.parametrize("prefix", [SECRET_SEND, EXPORT])
def test_secrets_of_edgexs_store_are_asked_for_by_the_names_of_ours(prefix: str) -> None:
    variables = {f"{prefix}BROKERADDRESS": "tcp://b:1883", f"{prefix}AUTHMODE": "usernamepassword", f"{prefix}SECRETPATH": "mqtt"}
    (line,) = load(variables).unread
    assert "set EDGEROUTER__SINKS__MQTT_EXPORT__USERNAME" in line
    ours = "EDGEROUTER__SINKS__MQTT_EXPORT__"
    assert sink({**variables, f"{ours}USERNAME": "u", f"{ours}PASSWORD": "geheim"}).read_password() == "geheim"


def test_the_received_topic_is_a_placeholder_of_the_latest_form() -> None:
    variables = {f"{EXPORT}BROKERADDRESS": "tcp://b:1883"}
    assert sink({**variables, f"{EXPORT}TOPIC": "up/{receivedtopic}"}).topic == "up/{topic}"
    assert "{receivedtopic} is the only placeholder" in problems({**variables, f"{EXPORT}TOPIC": "up/{devicename}"})


def test_times_and_last_will_of_the_latest_form() -> None:
    variables = {f"{EXPORT}BROKERADDRESS": "tcp://b:1883", f"{EXPORT}KEEPALIVE": "1m30s", f"{EXPORT}CONNECTTIMEOUT": "5s"}
    will = {"WILLENABLED": "true", "WILLTOPIC": "gone", "WILLPAYLOAD": "x", "WILLQOS": "1", "WILLRETAINED": "true"}
    made = sink({**variables, **{EXPORT + name: value for name, value in will.items()}, f"{EXPORT}QOS": "2"})
    assert (made.keepalive, made.connect_timeout, made.qos) == (90, 5, 2), "EdgeX sends with the quality of the last will"
    assert made.last_will.model_dump() == {"topic": "gone", "payload": "x", "qos": 1, "retain": True}
    assert f"{EXPORT}KEEPALIVE: not a duration" in problems({**variables, f"{EXPORT}KEEPALIVE": "soon"})


def test_how_the_latest_form_connects_is_accepted_and_explained() -> None:
    names = ("MAXRECONNECTINTERVAL", "PRECONNECT", "PRECONNECTRETRYCOUNT", "PRECONNECTRETRYINTERVAL")
    (line,) = load({f"{EXPORT}BROKERADDRESS": "tcp://b:1883", **{EXPORT + name: "1" for name in names}}).unread
    assert "are not needed: the sink always connects again" in line
