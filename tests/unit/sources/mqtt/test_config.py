"""The configuration of the MQTT source: what is wrong is found when it is loaded, and secrets stay secret.

Covers also: edgerouter.mqtt.settings.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from edgerouter.sources.mqtt.config import NEVER_EXPIRES, MqttSourceConfig


def configured(**fields: Any) -> MqttSourceConfig:
    return MqttSourceConfig.model_validate({"url": "mqtt://broker", "topics": ["#"]} | fields)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"url": "http://broker"}, "unknown scheme 'http'"),
        ({"url": "mqtt://broker:99999"}, "1 to 65535"),
        ({"url": "mqtt://broker:port"}, "1 to 65535"),
        ({"url": "mqtt://"}, "holds a host"),
        ({"url": "mqtt://broker/path"}, "only ws"),
        ({"topics": []}, "at least 1"),
        ({"topics": ["a/#/b"]}, "'#' must be the last level"),
        ({"topics": [{"topic": "a", "qos": 3}]}, "0, 1 or 2"),
        ({"share": "a/b"}, "holds no `/`"),
        ({"share": "g", "topics": ["$share/g/t"]}, "hold no $share"),
        ({"password": "x"}, "needs `username`"),
        ({"tls": {}}, "write mqtts://"),
        ({"url": "mqtts://broker", "tls": {"ca": "/nonexistent/ca.pem"}}, "no such file: /nonexistent/ca.pem"),
        ({"last_will": {"topic": "t"}, "status_topic": "s"}, "exclude each other"),
        ({"status_topic": "a/#"}, "holds no wildcards"),
        ({"retained": "as_published", "protocol": "3.1.1"}, "needs MQTT 5"),
        ({"topics": [{"topic": "a", "qos": 0}, "b", {"topic": "a", "qos": 2}]}, "'a' twice, with different `qos`"),
        ({"keepalive": 0}, "greater than or equal to 1"),
        ({"websocket_headers": {"a": "b"}}, "needs a ws://"),
        ({"reconnect": {"first_delay": "2m"}}, "less than"),
        ({"tpoics": ["#"]}, "Extra inputs"),
    ],
)
def test_a_wrong_value_is_refused_with_its_reason(fields: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValidationError) as caught:
        configured(**fields)
    assert reason in str(caught.value)


def test_a_file_that_is_not_a_certificate_is_refused_with_its_name(tmp_path: Path) -> None:
    file = tmp_path / "ca.pem"
    file.write_text("not a certificate")
    with pytest.raises(ValidationError, match=r"ca.pem holds no usable certificates"):
        configured(url="mqtts://broker", tls={"ca": file})


@pytest.mark.parametrize("url", ["mqtt://user:s3cret@broker", "user:s3cret@broker"])
def test_a_password_in_the_url_is_shown_nowhere(url: str) -> None:
    config = configured(url=url)
    assert "s3cret" not in f"{config!r} {config} {config.model_dump_json()}"
    assert config.username == "user"
    assert config.password is not None
    assert config.password.get_secret_value() == "s3cret"


@pytest.mark.parametrize(
    "url",
    [
        "mqtt://user:s3cret@broker:99999",
        "x://u:s3cret@b",
        "mqtt://u:s3cret@",
        "mqtt://u:s3cret/more@broker",
        "ws://u:s3cret/m@b/mqtt",
    ],
)
def test_a_password_in_a_url_that_is_wrong_is_shown_nowhere(url: str) -> None:
    with pytest.raises(ValidationError) as caught:
        configured(url=url)
    assert "s3cret" not in str(caught.value)


def test_credentials_are_written_once() -> None:
    with pytest.raises(ValidationError, match="write them once"):
        configured(url="mqtt://user@broker", username="other")


def test_topics_are_sent_to_the_broker_with_their_group_and_quality_of_service() -> None:
    config = configured(topics=["a", {"topic": "b/+", "qos": 0}], share="g", qos=2)
    assert config.subscriptions == {"$share/g/a": 2, "$share/g/b/+": 0}


def test_a_session_may_never_expire() -> None:
    assert configured(session_expiry="never").session_expiry == NEVER_EXPIRES
    assert configured(session_expiry="2d").session_expiry == 172_800


def test_every_field_is_documented() -> None:
    def undocumented(model: type[BaseModel]) -> list[str]:
        return [f"{model.__name__}.{name}" for name, field in model.model_fields.items() if not field.description]

    from edgerouter.mqtt.last_will import LastWill
    from edgerouter.sources.mqtt.config import Reconnect, Subscription
    from edgerouter.tls import TlsConfig

    assert [
        name for model in (MqttSourceConfig, LastWill, Reconnect, Subscription, TlsConfig) for name in undocumented(model)
    ] == []
