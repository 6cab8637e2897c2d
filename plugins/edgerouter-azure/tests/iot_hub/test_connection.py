"""A device has one connection, whose token is renewed between two messages; and a probe leaves it alone.

Covers also: edgerouter_azure.iot_hub.probe.
"""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from aiohttp import web

from edgerouter import Outcome, Throttled, Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message
from edgerouter_azure.iot_hub.config import IotHubConfig
from edgerouter_azure.iot_hub.connection import sharing
from edgerouter_azure.iot_hub.sink import IotHubSink
from support.azure.iot_hub import DEVICE, HOST, IotHub
from support.certificates import Authority
from support.strict_broker import Client, Published
from support.websocket_bridge import bridging

WEBSOCKET = "/$iothub/websocket"
LONG = float(os.environ.get("SAS_SECONDS", "7"))
"""Seconds under load; a minute for the long form."""


async def test_tokens_that_end_every_few_seconds_under_load_lose_nothing_and_repeat_nothing(
    hub: IotHub, fields: dict[str, Any]
) -> None:
    lifetime = 5.0 if LONG > 30 else 2.0
    config = IotHubConfig.model_validate({**fields, "token_lifetime": lifetime})
    written: set[str] = set()
    sequence = 0
    end = time.monotonic() + LONG

    async def load(sink: IotHubSink) -> None:
        nonlocal sequence
        while time.monotonic() < end:
            left = [make_message(b"%d" % number, sequence=number) for number in range(sequence, sequence + 50)]
            sequence += 50
            while left:
                try:
                    outcome = await sink.write(left)
                except Unavailable:
                    continue
                missing = {failure.index for failure in outcome.failed}.union(outcome.untried)
                written.update(each.id for place, each in enumerate(left) if place not in missing)
                left = [left[place] for place in sorted(missing)]

    async with IotHubSink.open(config, make_context()) as sink:
        await asyncio.gather(*(load(sink) for _ in range(3)))
    came = Counter(bag["$.mid"] for bag, _ in hub.messages)
    assert set(came) == written
    assert len(written) == sequence
    renewals = len(hub.attempts) - 1
    print(f"{sequence} messages, {renewals} renewals, {came.total() - len(came)} repeated, {hub.expired} ended by the hub")
    assert renewals >= LONG / (lifetime + 1) - 1
    assert came.total() - len(came) <= 50 * renewals
    assert hub.expired == 0 or LONG < 30  # a busy machine may be late for tokens of two seconds


async def test_sink_and_source_of_a_device_share_its_connection(hub: IotHub, fields: dict[str, Any]) -> None:
    config = IotHubConfig.model_validate(fields)
    async with sharing(config) as one, sharing(config) as other:
        assert await one.connected() is await other.connected()
        with pytest.raises(Unauthorized, match="different `keep_alive`"):
            async with sharing(IotHubConfig.model_validate({**fields, "keep_alive": 30})):
                pass
    async with sharing(config) as later:
        await later.connected()
    assert len(hub.attempts) == 2


async def test_a_wrong_key_is_refused_with_advice_and_without_the_key(hub: IotHub, fields: dict[str, Any]) -> None:
    wrong = hub.connection_string("d3Jvbmc=")
    config = IotHubConfig.model_validate({**fields, "connection_string": wrong})
    with pytest.raises(Unauthorized, match="is the device registered") as refused:
        async with IotHubSink.open(config, make_context()):
            pass
    assert "d3Jvbmc" not in str(refused.value)


async def test_a_hub_that_hangs_up_on_messages_is_read_as_throttling(hub: IotHub, fields: dict[str, Any]) -> None:
    def hang_up(client: Client, _: Published) -> bool:
        client.writer.close()
        return False

    hub.on_publish = hang_up
    async with IotHubSink.open(IotHubConfig.model_validate(fields), make_context()) as sink:
        outcome: Outcome = await sink.write([make_message()])
    assert isinstance(outcome.failed[0].error, Throttled)
    assert outcome.failed[0].may_have_arrived


async def test_messages_go_through_a_websocket_where_only_port_443_is_open(
    plain_hub: IotHub, server_tls: ssl.SSLContext, authority: Authority
) -> None:
    async with bridging(plain_hub.port, WEBSOCKET, tls=server_tls) as bridge:
        config = IotHubConfig.model_validate(
            {
                "connection_string": plain_hub.connection_string(),
                "endpoint": f"localhost:{bridge.port}",
                "ca_file": str(authority.certificate),
                "transport": "websocket",
            }
        )
        async with IotHubSink.open(config, make_context()) as sink:
            assert not (await sink.write([make_message(b"over port 443")])).failed
    assert [body for _, body in plain_hub.messages] == [b"over port 443"]


async def test_a_device_logs_in_with_its_certificate_through_a_websocket(plain_hub: IotHub, authority: Authority) -> None:
    """Hubs have taken certificates there since 2020: https://github.com/Azure/azure-iot-sdk-java/pull/727."""
    server, device = authority.issue("localhost"), authority.issue(DEVICE)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(server.certificate, server.key)
    tls.load_verify_locations(authority.certificate)
    tls.verify_mode = ssl.CERT_OPTIONAL
    plain_hub.x509 = True

    def pass_on(request: web.Request) -> None:
        plain_hub.certificate = request.get_extra_info("peercert") or {}

    async with bridging(plain_hub.port, WEBSOCKET, tls=tls, admit=pass_on) as bridge:
        fields = {
            "host": HOST,
            "device_id": DEVICE,
            "certificate": device.certificate,
            "key_file": device.key,
            "endpoint": f"localhost:{bridge.port}",
            "ca_file": authority.certificate,
            "transport": "websocket",
        }
        async with IotHubSink.open(IotHubConfig.model_validate(fields), make_context()) as sink:
            assert not (await sink.write([make_message(b"by certificate")])).failed
    assert [body for _, body in plain_hub.messages] == [b"by certificate"]


@pytest.mark.parametrize(
    ("status", "kind"), [(412, None), (204, None), (401, Unauthorized), (404, Unauthorized), (429, Throttled), (503, Unavailable)]
)
async def test_a_probe_asks_without_a_connection_of_the_device(
    plain_hub: IotHub, server_tls: ssl.SSLContext, authority: Authority, status: int, kind: type[Exception] | None
) -> None:
    """A hub ends the connection of a running router when the device connects again."""
    asked: list[web.Request] = []

    async def rest(request: web.Request) -> web.Response:
        asked.append(request)
        return web.Response(status=status, headers={"Retry-After": "7"})

    async with bridging(plain_hub.port, WEBSOCKET, tls=server_tls, other=rest) as bridge:
        config = IotHubConfig.model_validate(
            {
                "connection_string": plain_hub.connection_string(),
                "endpoint": f"localhost:{bridge.port}",
                "ca_file": str(authority.certificate),
                "transport": "websocket",
            }
        )
        caught: Unavailable | None = None
        try:
            async with IotHubSink.open(config, replace(make_context(), probe=True)):
                pass
        except Unavailable as error:
            caught = error
    assert (None if caught is None else type(caught)) is kind
    assert plain_hub.attempts == []
    (request,) = asked
    assert request.method == "DELETE"
    assert request.path == f"/devices/{DEVICE}/messages/deviceBound/{'0' * 8}-0000-0000-0000-{'0' * 12}"
    assert request.headers["Authorization"].startswith("SharedAccessSignature sr=")
