"""The configuration of a device refuses what cannot work, and names the field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_azure.iot_hub.config import IotHubConfig
from support.azure.iot_hub import HOST, IotHub
from support.certificates import Authority

TEXT = IotHub().connection_string()
X509 = IotHub(x509=True).connection_string()


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({}, "either connection_string or host"),
        ({"connection_string": TEXT, "host": HOST, "device_id": "d"}, "either connection_string or host"),
        ({"host": HOST}, "host and device_id belong together"),
        ({"host": "a b", "device_id": "d"}, "host name is missing or not one"),
        ({"host": HOST, "device_id": "d"}, "certificate is needed"),
        ({"connection_string": X509}, "certificate is needed"),
        ({"connection_string": TEXT, "certificate": "device.pem"}, "exclude each other"),
        ({"connection_string": TEXT, "key_file": "device.key"}, "key_file needs certificate"),
        ({"connection_string": X509, "certificate": "/no/such"}, "no such file: /no/such"),
        ({"connection_string": TEXT, "keep_alive": 2000}, "keep_alive"),
        ({"connection_string": TEXT, "qos": 2}, "qos"),
        ({"connection_string": TEXT, "proxy": "ftp://x"}, "a proxy is written as"),
        ({"connection_string": TEXT, "pack_framing": "jsonl-exact"}, "pack_framing needs pack"),
        ({"connection_string": TEXT, "pack": "jsonl", "content_type": "text/plain"}, "a pack has its own"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        IotHubConfig.model_validate(fields)


def test_the_hub_is_reached_on_8883_or_over_a_websocket_on_443(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue("edge-7")
    x509 = {"host": HOST, "device_id": "edge-7", "certificate": issued.certificate, "key_file": issued.key}
    assert IotHubConfig.model_validate(x509).settings().url == f"mqtts://{HOST}:8883"
    assert IotHubConfig.model_validate({**x509, "transport": "websocket"}).settings().url == f"wss://{HOST}:443/$iothub/websocket"
    gateway = IotHubConfig.model_validate({"connection_string": f"{TEXT};GatewayHostName=gateway.local"})
    assert gateway.settings().url == "mqtts://gateway.local:8883"


def test_a_connection_string_that_is_not_resolved_yet_is_not_judged() -> None:
    assert IotHubConfig.model_validate({"connection_string": "${file:/run/secrets/hub}"}).qos == 1


def test_the_hub_is_known_without_a_connection() -> None:
    assert IotHubConfig.model_validate({"connection_string": TEXT}).service_urls == (f"mqtts://{HOST}",)
    assert IotHubConfig.model_validate({"connection_string": TEXT, "transport": "websocket"}).service_urls == (f"https://{HOST}",)
    assert IotHubConfig.model_validate({"connection_string": TEXT, "endpoint": "127.0.0.1:8883"}).service_urls == ()
