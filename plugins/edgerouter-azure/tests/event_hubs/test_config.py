"""Mistakes in the settings of `azure-event-hubs` are found when the configuration is read."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter_azure.event_hubs.config import EventHubsConfig


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "either connection_string or namespace"),
        ({"namespace": "plant"}, "hub is needed"),
        ({"connection_string": "Endpoint=sb://x;SharedAccessKeyName=a", "hub": "h"}, "SharedAccessKey"),
        ({"connection_string": "SharedAccessKeyName=a;SharedAccessKey=s3cret", "hub": "h"}, "no Endpoint"),
        (
            {"connection_string": "Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=s3c;ret4=", "hub": "h"},
            "written as Name=value",
        ),
        (
            {"connection_string": "Endpoint=sb://x;SharedAccessKeyName=a;SharedAccessKey=s;EntityPath=one", "hub": "two"},
            "is for 'one'",
        ),
        ({"namespace": "plant", "hub": "h", "partition_id": "1", "partition_key": "{topic}"}, "exclude each other"),
        ({"namespace": "plant", "hub": "h", "partition_key": "{topik}"}, "did you mean {topic}"),
        ({"namespace": "plant", "hub": "h", "proxy": "proxy:3128"}, "http://host:port"),
    ],
)
def test_what_does_not_fit_together_is_refused(fields: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        EventHubsConfig.model_validate(fields)
    assert problem in "\n".join(str(error["msg"]) for error in caught.value.errors(include_input=False))


def test_a_connection_string_from_a_secret_store_is_checked_when_it_is_there() -> None:
    EventHubsConfig.model_validate({"connection_string": "${azure-keyvault:event-hubs}"})


def test_a_namespace_is_found_by_its_name_in_each_cloud() -> None:
    assert EventHubsConfig(namespace="plant", hub="h").place().host == "plant.servicebus.windows.net"
    assert EventHubsConfig(namespace="plant", hub="h", cloud="us-government").place().host == "plant.servicebus.usgovcloudapi.net"


def test_the_namespace_is_known_without_a_connection() -> None:
    host = "plant.servicebus.windows.net"
    assert EventHubsConfig(namespace="plant", hub="h").service_urls == (f"amqps://{host}",)
    assert EventHubsConfig(namespace="plant", hub="h", transport="websocket").service_urls == (f"https://{host}",)
    assert EventHubsConfig(namespace="plant", hub="h", endpoint="127.0.0.1:5671").service_urls == ()
