"""A message keeps its properties in the bag behind the topic, and many messages fit into one of the hub."""

from __future__ import annotations

import gzip
import json
import ssl
from typing import Any

import pytest

from edgerouter import Properties, Rejected, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_azure.iot_hub.bag import parse_bag, received
from edgerouter_azure.iot_hub.config import IotHubConfig
from edgerouter_azure.iot_hub.sink import IotHubSink
from support.azure.iot_hub import DEVICE, HOST, IotHub, IotHubServer
from support.certificates import Authority
from support.strict_broker import Client, Published

EVERY = Properties((("a", "1"), ("a", "2"), ("größe", "ü&="), ("topic", "t"), ("$.mid", "x")), "text/csv", "back/here", b"c-1")


async def test_a_message_carries_id_time_content_type_and_application_properties(hub: IotHub, fields: dict[str, Any]) -> None:
    config = IotHubConfig.model_validate({**fields, "content_encoding": "utf-8"})
    async with IotHubSink.open(config, make_context()) as sink:
        message = make_message(b"1;2", topic="plant/größe", properties=EVERY)
        assert not (await sink.write([message])).failed
    bag, body = hub.messages[0]
    assert body == b"1;2"
    assert bag.pop("$.ctime").endswith("Z")
    assert bag == {
        "$.mid": message.id, "$.ct": "text/csv", "$.ce": "utf-8", "$.cid": "c-1",
        "topic": "plant/größe", "qos": str(message.qos), "retained": "false", "response_topic": "back/here",
        "a": "1,2", "größe": "ü&=", "user_topic": "t", "user_$.mid": "x",
    }  # fmt: skip


@pytest.mark.parametrize("correlation", [b"text", bytes(range(256))])
async def test_correlation_data_comes_back_to_the_byte(hub: IotHub, fields: dict[str, Any], correlation: bytes) -> None:
    async with IotHubSink.open(IotHubConfig.model_validate(fields), make_context()) as sink:
        await sink.write([make_message(properties=Properties(response_topic="r", correlation_data=correlation))])
    bag = hub.published[0].topic.partition("/events/")[2]
    assert received(*parse_bag(bag)) == Properties(response_topic="r", correlation_data=correlation)


async def test_without_properties_the_bag_holds_those_of_the_system_alone(hub: IotHub, fields: dict[str, Any]) -> None:
    config = IotHubConfig.model_validate({**fields, "properties": False, "qos": 0})
    async with IotHubSink.open(config, make_context()) as sink:
        await sink.write([make_message()])
        assert not (await sink.write([make_message()])).failed
    assert all(set(bag) == {"$.mid", "$.ctime"} for bag, _ in hub.messages)
    assert {each.qos for each in hub.published} == {0}


async def test_properties_that_are_too_long_for_a_topic_reject_their_message_alone(hub: IotHub, fields: dict[str, Any]) -> None:
    long = make_message(properties=Properties((("a", "ü" * 20_000),)))
    async with IotHubSink.open(IotHubConfig.model_validate(fields), make_context()) as sink:
        (failure,) = (await sink.write([make_message(), long, make_message()])).failed
    assert (failure.index, type(failure.error)) == (1, Rejected)
    assert len(hub.messages) == 2


@pytest.mark.parametrize("pack", ["jsonl", "gzip"])
async def test_a_pack_is_one_message_of_the_hub_and_the_same_at_each_retry(hub: IotHub, fields: dict[str, Any], pack: str) -> None:
    batch = make_messages([b'{"n": %d}' % number for number in range(100)])
    async with IotHubSink.open(IotHubConfig.model_validate({**fields, "pack": pack}), make_context()) as sink:
        for _ in range(2):
            assert not (await sink.write(batch)).failed
    (bag, body), again = hub.messages
    assert (bag, body) == again
    assert bag["messages"] == "100"
    assert bag["$.mid"] == f"{batch[0].id}-{batch[-1].sequence}"
    lines = (gzip.decompress(body) if pack == "gzip" else body).splitlines()
    assert [json.loads(line)["payload"]["n"] for line in lines] == list(range(100))


@pytest.mark.parametrize("pack", ["jsonl", "gzip"])
async def test_a_pack_of_the_largest_size_is_taken(hub: IotHub, fields: dict[str, Any], pack: str) -> None:
    async with IotHubSink.open(IotHubConfig.model_validate({**fields, "pack": pack}), make_context()) as sink:
        limit = sink.limits.max_bytes
        assert limit is not None
        message = make_message(b"")
        batch = [make_message(b"x" * (limit - sink.size_of(message) - 2))]
        assert limit - 3 <= sink.size_of(batch[0]) <= limit
        assert not (await sink.write(batch)).failed
    assert len(hub.messages) == 1


async def test_a_pack_that_is_lost_on_its_way_is_unavailable(hub: IotHub, fields: dict[str, Any]) -> None:
    def reset(client: Client, _: Published) -> bool:
        client.writer.transport.abort()
        return False

    hub.on_publish = reset
    async with IotHubSink.open(IotHubConfig.model_validate({**fields, "pack": "jsonl"}), make_context()) as sink:
        with pytest.raises(Unavailable):
            await sink.write([make_message()])


async def test_a_device_logs_in_with_its_certificate(authority: Authority) -> None:
    server, device = authority.issue("localhost"), authority.issue(DEVICE)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.certificate, server.key)
    tls.load_verify_locations(authority.certificate)
    tls.verify_mode = ssl.CERT_REQUIRED
    async with IotHubServer(IotHub(x509=True), tls).running() as running:
        config = IotHubConfig.model_validate(
            {
                "host": HOST,
                "device_id": DEVICE,
                "certificate": device.certificate,
                "key_file": device.key,
                "endpoint": running.endpoint,
                "ca_file": authority.certificate,
            }
        )
        async with IotHubSink.open(config, make_context()) as sink:
            assert not (await sink.write([make_message()])).failed
        assert len(running.hub.messages) == 1
