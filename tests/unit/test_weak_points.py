"""A password in plain text and unverified certificates cause one warning each, unless the connection stays within this machine.

Covers also: edgerouter.tls.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable
from typing import Any

import pytest
import structlog

from edgerouter.sinks.http.exchange import warn_of_weak_points
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.tls import TlsConfig


def said(warn: Callable[[str], None]) -> list[str]:
    name = f"sink {uuid.uuid4()}"  # a process warns once of each
    with structlog.testing.capture_logs() as logs:
        for _ in range(2):
            warn(name)
    assert "s3cr3t" not in str(logs)
    return [line["event"] for line in logs]


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"url": "mqtt://me:s3cr3t@broker"}, ["plain text"]),
        ({"url": "ws://me:s3cr3t@192.0.2.1"}, ["plain text"]),
        ({"url": "mqtts://me:s3cr3t@broker", "tls": {"insecure": True}}, ["tls.insecure"]),
        ({"url": "mqtts://me:s3cr3t@broker"}, []),
        ({"url": "mqtt://broker"}, []),
        ({"url": "mqtt://me:s3cr3t@localhost"}, []),
        ({"url": "mqtt://me:s3cr3t@127.8.0.1"}, []),
        ({"url": "mqtts://me:s3cr3t@[::1]", "tls": {"insecure": True}}, []),
    ],
)
def test_weak_points_towards_a_broker(config: dict[str, Any], expected: list[str]) -> None:
    settings = MqttSinkConfig.model_validate(config)
    found = said(lambda name: settings.warn_of_weak_points(structlog.get_logger(), name))
    assert [text in line for text, line in zip(expected, found, strict=True)] == [True] * len(expected)


@pytest.mark.parametrize(
    ("url", "insecure", "secret", "expected"),
    [
        ("http://influx:8086/s3cr3t", False, "token", ["the token is sent over the network in plain text"]),
        ("https://influx:8086", True, "token", ["tls.insecure"]),
        ("https://influx:8086", False, "token", []),
        ("http://influx:8086", False, "", []),
        ("http://localhost:8086", False, "token", []),
        ("http://[::1]:8086", False, "token", []),
    ],
)
def test_weak_points_towards_a_web_service(url: str, insecure: bool, secret: str, expected: list[str]) -> None:
    found = said(lambda name: warn_of_weak_points(url, TlsConfig(insecure=insecure), secret, name))
    assert [text in line for text, line in zip(expected, found, strict=True)] == [True] * len(expected)
