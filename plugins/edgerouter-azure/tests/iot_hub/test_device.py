"""A device is named by its connection string, and mistakes are explained without quoting a key.

Covers also: edgerouter_azure.connection_string.
"""

from __future__ import annotations

import pytest

from edgerouter_azure.iot_hub.device import Device, parse_connection_string

HOST = "HostName=plant.azure-devices.net;DeviceId=edge-7;"


def test_a_connection_string_names_hub_device_gateway_and_key() -> None:
    device = parse_connection_string(f"{HOST}SharedAccessKey=c2VjcmV0; GatewayHostName=gateway.local ;")
    assert device == Device("plant.azure-devices.net", "edge-7", "gateway.local", b"secret")
    assert device.username == "plant.azure-devices.net/edge-7/?api-version=2021-04-12"
    assert "secret" not in repr(device)


def test_a_token_is_scoped_to_the_device_and_ends_when_it_should() -> None:
    token = Device("h", "d/1", key=b"secret").sign(100)
    assert token.startswith("SharedAccessSignature sr=h%2Fdevices%2Fd%2F1&sig=")
    left = Device("h", "d", signature=token).seconds_left()
    assert left is not None
    assert 98 < left <= 101
    assert Device("h", "d", signature=token).sign(5) == token


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("s3cr3t", "parts are written as Name=value"),
        ("HostName=h;SharedAccessKeyName=iothubowner;SharedAccessKey=czNjcjN0", "string of the hub; use that of a device"),
        (f"{HOST}ModuleId=m;SharedAccessKey=czNjcjN0", "modules are not supported"),
        (HOST, "needs one of SharedAccessKey"),
        (f"{HOST}SharedAccessKey=czNjcjN0;x509=true", "needs one of SharedAccessKey"),
        (f"{HOST}SharedAccessKey=s3cr3t", "cut off when it was copied"),
        ("DeviceId=d;SharedAccessKey=czNjcjN0", "HostName="),
        ("HostName=h;DeviceId=a/b;SharedAccessKey=czNjcjN0", "DeviceId="),
    ],
)
def test_a_wrong_connection_string_is_explained_without_being_quoted(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint) as refused:
        parse_connection_string(text)
    assert "s3cr3t" not in str(refused.value)
    assert "czNjcjN0" not in str(refused.value)
