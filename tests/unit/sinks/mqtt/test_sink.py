"""The MQTT sink without a broker: topics from a template, what reason codes mean, and what the configuration refuses.

Covers also: edgerouter.mqtt.reasons, edgerouter.mqtt.results, edgerouter.mqtt.texts,
edgerouter.sinks.mqtt.config, edgerouter.sinks.mqtt.presets, edgerouter.sinks.mqtt.topic.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from pydantic import ValidationError

from edgerouter import Properties, Rejected, SinkContext, Throttled, Unauthorized, Unavailable
from edgerouter.mqtt.reasons import connect_refused, disconnected, not_taken
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from edgerouter.sinks.mqtt.topic import TopicTemplate
from edgerouter.testing import make_message
from support.strict_broker import strict_broker

CONTEXT = SinkContext("out", "edge-1", "5p00l")


@pytest.mark.parametrize(
    ("template", "topic"),
    [
        ("{topic}", "plant/line-1/temperature"),
        ("sites/{host}/{topic[0]}", "sites/edge-1/plant"),
        ("{topic[-1]}", "temperature"),
        ("{topic[1:]}", "line-1/temperature"),
        ("{topic[:-1]}/{topic[7]}", "plant/line-1/"),
        ("{property[site]}/{property[none]}x", "north/x"),
        ("{sink}-{spool}-{{}}", "out-5p00l-{}"),
        ("fixed", "fixed"),
    ],
)
def test_a_template_renders_its_placeholders(template: str, topic: str) -> None:
    message = make_message(properties=Properties(user=(("site", "north"),)))

    assert TopicTemplate(template, CONTEXT).of(message) == topic


@pytest.mark.parametrize(
    ("template", "complaint"),
    [
        ("", "at least one character"),
        ("{topik}", r"did you mean \{topic\}"),
        ("{topic[a]}", "a level is a number"),
        ("{host[0]}", "takes nothing in brackets"),
        ("{property}", "name of the user property"),
        ("a/+", "wildcard"),
        ("a{", "single"),
    ],
)
def test_a_wrong_template_is_refused_with_the_reason(template: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        TopicTemplate(template, CONTEXT)


@pytest.mark.parametrize(
    "topic", ["", "a/#", "a\x00", "a\n", "\x7f", "\uffff", "x" * 65_536, "é" * 40_000, "$SYS", "a/" * 200, "\ud800"]
)
def test_a_topic_that_would_end_the_connection_rejects_its_message_only(topic: str) -> None:
    with pytest.raises(Rejected):
        TopicTemplate("{topic}", CONTEXT).of(make_message(topic=topic))


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (0, None),
        (16, None),
        (128, Unavailable),
        (131, Unavailable),
        (135, Unauthorized),
        (144, Rejected),
        (149, Rejected),
        (151, Throttled),
        (153, Rejected),
    ],
)
def test_each_acknowledgement_has_its_meaning(code: int, kind: type[BaseException] | None) -> None:
    error = not_taken(code, "a/b", "host:1883")

    assert (None if error is None else type(error)) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (3, Unavailable),
        (134, Unauthorized),
        (135, Unauthorized),
        (136, Unavailable),
        (138, Unauthorized),
        (151, Throttled),
        (159, Throttled),
    ],
)
def test_each_refused_connection_has_its_meaning(code: int, kind: type[BaseException]) -> None:
    assert type(connect_refused(code, "why", "host:1883")) is kind


@pytest.mark.parametrize(
    ("code", "kind"),
    [(None, Unavailable), (139, Unavailable), (142, Unauthorized), (147, Throttled), (149, Rejected)],
)
def test_each_end_of_a_connection_has_its_meaning(code: int | None, kind: type[BaseException]) -> None:
    assert type(disconnected(code, "why", "host:1883")) is kind


@pytest.mark.parametrize(
    ("config", "complaint"),
    [
        ({"url": "http://x"}, "unknown scheme"),
        ({"url": "mqtt://me:pw@x", "password": "b", "username": "me"}, "write them once"),
        ({"qos": 3}, "qos"),
        ({"tls": {}}, "says no TLS"),
        ({"password": "a"}, "needs `username`"),
        ({"topic": "{topics}"}, "did you mean"),
    ],
)
def test_a_configuration_that_does_not_fit_is_refused_with_the_reason(config: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        MqttSinkConfig.model_validate({"url": "mqtt://x", **config})


def test_a_password_in_the_url_is_never_shown() -> None:
    config = MqttSinkConfig.model_validate({"url": "mqtt://me:s3cr3t@x"})

    assert "s3cr3t" not in repr(config)
    assert config.read_password() == "s3cr3t"


@pytest.mark.parametrize(
    ("template", "topic"),
    [("{topic}", "$SYS/x"), ("{topic}", "$other/x"), ("{topic[1:]}", "a/$SYS/x"), ("{property[p]}/{topic}", "x")],
)
def test_no_message_reaches_the_broker_s_own_topics_by_its_name_or_a_property(template: str, topic: str) -> None:
    message = make_message(topic=topic, properties=Properties(user=(("p", "$SYS"),)))
    with pytest.raises(Rejected, match=r"begins with \$"):
        TopicTemplate(template, CONTEXT).of(message)


@pytest.mark.parametrize("template", ["$SYS/{topic}", "$SYS", "${topic}", "${property[p]}/x"])
def test_a_template_below_sys_or_with_a_dollar_before_a_placeholder_is_refused(template: str) -> None:
    with pytest.raises(ValueError, match=r"\$SYS"):
        TopicTemplate(template, CONTEXT)


def test_a_template_may_write_out_a_topic_that_begins_with_a_dollar() -> None:
    assert TopicTemplate("$aws/things/{topic}", CONTEXT).of(make_message(topic="$SYS/x")) == "$aws/things/$SYS/x"


def test_a_device_of_clearblade_needs_its_names_and_its_key_alone(tmp_path: Path) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    file = tmp_path / "key.pem"
    file.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    device = {"project": "plant", "registry": "edge", "device": "edge-7", "key_file": file, "algorithm": "ES256", "lifetime": "20m"}

    config = MqttSinkConfig.model_validate({"clearblade": device, "topic": "/devices/edge-7/state"})

    assert config.url == "mqtts://us-central1-mqtt.clearblade.com:8883"
    assert config.client_id == "projects/plant/locations/us-central1/registries/edge/devices/edge-7"
    assert (config.protocol, config.topic) == ("3.1.1", "/devices/edge-7/state")
    assert config.jwt is not None
    assert (config.jwt.audience, config.jwt.lifetime) == ("plant", 1200)


def test_a_token_and_a_password_exclude_each_other(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    token = {"algorithm": "HS256", "key_file": tmp_path / "key"}
    with pytest.raises(ValidationError, match="`jwt` makes the password"):
        MqttSinkConfig.model_validate({"url": "mqtt://me:pw@x", "jwt": token})


async def test_the_token_is_the_password(tmp_path: Path) -> None:
    (tmp_path / "key").write_text("secret")
    config = {"jwt": {"algorithm": "HS256", "key_file": tmp_path / "key", "lifetime": 5, "subject": "edge-7"}}
    async with strict_broker() as broker:
        async with MqttSink.open(MqttSinkConfig.model_validate({"url": broker.url, **config}), CONTEXT) as sink:
            assert not (await sink.write([make_message()])).failed
        (connect,) = broker.attempts
        assert connect.username == "unused"
        assert (connect.password or "").count(".") == 2
