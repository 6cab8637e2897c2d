"""A broker is allowed or not, and reached by its own settings or by those of CloudSync."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import Unavailable
from edgerouter.mqtt import BrokerSettings
from edgerouter_cloudsync.brokers import BrokersConfig, find
from support.certificates import Authority
from support.mosquitto import free_port


def url(broker: str, **fields: Any) -> str | None:
    settings = BrokersConfig.model_validate(fields).settings_of(broker)
    return settings.url if settings is not None else None


def test_any_host_is_allowed_without_a_list_and_only_listed_ones_with_it() -> None:
    assert url("a.example") == "mqtt://a.example:1883"
    assert url("::1") == "mqtt://[::1]:1883"
    assert url("a.example", port=1884) == "mqtt://a.example:1884"
    assert url("a.example:1884") is None
    listed: dict[str, Any] = {"a.example": None, "b.example:1884": None, "c": {"url": "mqtts://other.example:8884"}}
    assert url("a.example", brokers=listed) == "mqtt://a.example:1883"
    assert url("b.example:1884", brokers=listed) == "mqtt://b.example:1884"
    assert url("c", brokers=listed) == "mqtts://other.example:8884"
    assert url("d.example", brokers=listed) is None


def test_secure_means_port_8883_with_the_original_files(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"`secure` needs .*ca-crt.pem; put it there"):
        BrokersConfig(secure=True, certificates=tmp_path)
    authority = Authority(tmp_path / "authority")
    made = authority.issue("edge")
    for name, file in (("ca-crt.pem", authority.certificate), ("hen-crt.pem", made.certificate), ("hen-key.pem", made.key)):
        (tmp_path / name).write_bytes(file.read_bytes())
    config = BrokersConfig(secure=True, certificates=tmp_path)
    settings = config.settings_of("a.example")
    assert settings is not None
    assert settings.url == "mqtts://a.example:8883"
    assert settings.tls is not None
    assert (settings.tls.ca, settings.tls.cert) == (tmp_path / "ca-crt.pem", tmp_path / "hen-crt.pem")
    assert config.shown("a.example") == "tcps://a.example:8883"
    (tmp_path / "hen-key.pem").write_text("not a key")
    with pytest.raises(ValidationError, match=r"hen-key\.pem"):
        BrokersConfig(secure=True, certificates=tmp_path)


@pytest.mark.parametrize("name", ["tcp://a", "a/b", "", "a b", "a:b"])
def test_a_name_that_no_request_can_send_is_refused(name: str) -> None:
    with pytest.raises(ValidationError, match="should be what requests send"):
        BrokersConfig.model_validate({"brokers": {name: None}})


def test_an_unknown_field_of_a_broker_is_refused_and_its_password_is_not_shown() -> None:
    with pytest.raises(ValidationError) as raised:
        BrokersConfig.model_validate({"brokers": {"a": {"url": "mqtt://a", "user": "x", "password": "geheim"}}})
    assert "user" in str(raised.value)
    assert "geheim" not in str(raised.value)


async def test_a_port_that_does_not_answer_is_found_out_within_the_time() -> None:
    with pytest.raises(Unavailable, match="cannot be reached"):
        await find(BrokerSettings(url=f"mqtt://127.0.0.1:{free_port()}"))
    with socket.socket() as full, socket.socket() as first, socket.socket() as second:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        for each in (first, second):  # a queue that is full swallows what comes next
            each.setblocking(False)
            each.connect_ex(full.getsockname())
        with pytest.raises(Unavailable, match="does not answer"):
            await find(BrokerSettings(url=f"mqtt://127.0.0.1:{full.getsockname()[1]}", connect_timeout=0.3))
