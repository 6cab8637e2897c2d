"""The configuration of IoT Core refuses what cannot work, and names the field.

Covers also: edgerouter_aws.iot_core.signing, edgerouter_aws.iot_core.topic.
"""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_aws.iot_core.config import IotCoreConfig
from support.aws.iot_core import ENDPOINT
from support.certificates import Certificate


@pytest.mark.parametrize(
    ("fields", "complaint"),
    [
        ({"endpoint": "https://x"}, "endpoint"),
        ({"endpoint": "a1.credentials.iot.eu-west-1.amazonaws.com"}, "use the one of type iot:Data-ATS"),
        ({"certificate": "device.pem"}, "certificate and key_file belong together"),
        ({"certificate": "/no/such", "key_file": "/no/such"}, "no such file: /no/such"),
        ({"port": 8883}, "port 8883 needs certificate"),
        ({"endpoint": "iot.plant.example"}, "region is needed"),
        ({"keep_alive": 10}, "keep_alive"),
        ({"qos": 2}, "qos"),
        ({"topic": ""}, "at least one character"),
        ({"topic": "a/+"}, "holds a wildcard"),
        ({"topic": "{topik}"}, "did you mean"),
        ({"topic": "${topic}"}, "what follows a leading"),
        ({"topic": "$aws/rules/{topic}"}, "Basic Ingest is written as"),
    ],
)
def test_what_cannot_work_is_refused_with_the_reason(fields: dict[str, Any], complaint: str) -> None:
    with pytest.raises(ValidationError, match=complaint):
        IotCoreConfig.model_validate({"endpoint": ENDPOINT, **fields})


def test_the_way_in_follows_from_the_certificate_and_the_port(device: Certificate) -> None:
    assert IotCoreConfig.model_validate({"endpoint": ENDPOINT}).settings().url == f"wss://{ENDPOINT}:443/mqtt"
    mutual = {
        "endpoint": ENDPOINT,
        "certificate": device.certificate,
        "key_file": device.key,
        "key_password": "the-password-of-the-key",
    }
    assert IotCoreConfig.model_validate(mutual).settings().url == f"mqtts://{ENDPOINT}:8883"
    settings = IotCoreConfig.model_validate({**mutual, "port": 443}).settings()
    assert settings.url == f"mqtts://{ENDPOINT}:443"
    assert settings.tls is not None
    assert settings.tls.alpn == ("x-amzn-mqtt-ca",)


def test_the_region_is_that_of_the_endpoint_unless_it_is_written() -> None:
    assert IotCoreConfig.model_validate({"endpoint": ENDPOINT}).signing_region == "eu-west-1"
    vpc = {"endpoint": "vpce-1-ats.iot.us-east-2.vpce.amazonaws.com"}
    assert IotCoreConfig.model_validate(vpc).signing_region == "us-east-2"
    assert IotCoreConfig.model_validate({**vpc, "region": "eu-central-1"}).signing_region == "eu-central-1"


def test_the_endpoint_is_known_where_it_is_reached_over_the_port_for_https() -> None:
    assert IotCoreConfig(endpoint=ENDPOINT, topic="t").service_urls == (f"https://{ENDPOINT}",)
    assert IotCoreConfig(endpoint=ENDPOINT, topic="t", address="127.0.0.1:8443").service_urls == ()
