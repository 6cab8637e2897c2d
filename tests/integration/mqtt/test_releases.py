"""PUBRELs of a broker that does not keep to MQTT end its connection and harm nothing else.

Covers: edgerouter.sources.mqtt.connection.
"""

from __future__ import annotations

import asyncio

import pytest

from support.mqtt_source import opened
from support.strict_broker import strict_broker

PUBRELS = b"".join(b"\x62\x02" + number.to_bytes(2, "big") for number in range(1, 65_536))


@pytest.mark.parametrize("packet", [b"\x62\x00", b"\x62\x01\x07"])
async def test_a_release_without_a_packet_id_ends_the_connection_with_its_reason(packet: bytes) -> None:
    async with strict_broker() as broker, opened(broker.url, qos=2, protocol="5") as source:
        await source.connected()
        (await broker.client()).send(packet)
        assert "a PUBREL without a packet id" in await source.disconnected()


async def test_each_release_is_completed_once_known_or_not_and_with_a_reason_code_or_without() -> None:
    async with strict_broker() as broker, opened(broker.url, qos=2, protocol="5") as source:
        await source.connected()
        client = await broker.client()
        sent = b"\x62\x02\x00\x07" + b"\x62\x03\x00\x08\x00" + b"\xd0\x00" + b"\x62\x04\x00\x09\x92\x00" + b"\x62\x02\x00\x07"
        for byte in sent:
            client.send(bytes((byte,)))
            await client.writer.drain()
        async with asyncio.timeout(10):
            while len(client.answers) < 4:
                await asyncio.sleep(0)
        assert client.answers == [(0x70, 7), (0x70, 8), (0x70, 9), (0x70, 7)]


async def test_a_broker_that_floods_with_releases_and_reads_no_answer_is_cut_off() -> None:
    async with strict_broker() as broker, opened(broker.url, qos=2, protocol="5") as source:
        await source.connected()
        client = await broker.client()
        transport = client.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        async with asyncio.timeout(60):
            while source.told[-1][0]:
                if transport.get_write_buffer_size() < 2**20:
                    client.send(PUBRELS)
                await asyncio.sleep(0)
        assert "wants answers without end" in source.told[-1][1]
