"""A broker that changes its limits or asks for answers without end harms neither other messages nor the memory.

Covers: edgerouter.mqtt.results, edgerouter.mqtt.connection.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from edgerouter import Rejected, SinkContext, Unavailable
from edgerouter.sinks.mqtt.config import MqttSinkConfig
from edgerouter.sinks.mqtt.sink import MqttSink
from edgerouter.testing import make_message
from support.mqtt_source import eventually
from support.strict_broker import Client, Published, acknowledge, strict_broker

TOO_LARGE = b"\xe0\x02\x95\x00"


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[MqttSink]:
    async with MqttSink.open(MqttSinkConfig(url=url), SinkContext("out", "edge-1", "5p00l")) as sink:
        yield sink


async def test_a_disconnect_for_a_packet_s_size_rejects_the_largest_message_and_no_other() -> None:
    def refuse_large_ones(client: Client, published: Published) -> bytes | None:
        if len(published.payload) < 500:
            return acknowledge(client, published)
        client.send(TOO_LARGE)
        client.writer.close()
        return None

    async with strict_broker() as broker, opened(broker.url) as sink:
        broker.puback = refuse_large_ones
        failed = (await sink.write([make_message(bytes(size)) for size in (100, 600, 200, 900, 300)])).failed

    assert [failure.index for failure in failed if isinstance(failure.error, Rejected)] == [3]
    assert all(isinstance(failure.error, Unavailable) and failure.may_have_arrived for failure in failed if failure.index != 3)
    assert {failure.index for failure in failed} >= {1, 3}


async def test_a_limit_of_packets_that_a_later_connection_brings_is_kept() -> None:
    async with strict_broker() as broker, opened(broker.url) as sink:
        broker.connack_properties = b"\x27" + (200).to_bytes(4)
        (await broker.client()).writer.transport.abort()
        outcome = None
        while outcome is None or not broker.published:
            outcome = await sink.write([make_message(bytes(size)) for size in (10, 190, 20)])

        assert [failure.index for failure in outcome.failed if isinstance(failure.error, Rejected)] == [1]
        assert {len(published.payload) for published in broker.published} == {10, 20}


@pytest.mark.parametrize("packet", [b"\x50\x02\x00\x07", b"\x62\x02\x00\x07", b"\xc0\x00"], ids=["PUBREC", "PUBREL", "PINGREQ"])
async def test_a_broker_that_wants_answers_without_end_and_reads_none_is_cut_off(packet: bytes) -> None:
    async with strict_broker() as broker, opened(broker.url) as sink:
        broker.puback = lambda _, __: None
        writing = asyncio.ensure_future(sink.write([make_message()]))
        client = await broker.client()
        await eventually(lambda: bool(broker.published))
        transport = client.writer.transport
        assert isinstance(transport, asyncio.Transport)
        transport.pause_reading()
        async with asyncio.timeout(60):
            while not writing.done():
                if transport.get_write_buffer_size() < 2**20:
                    client.send(packet * 20_000)
                await asyncio.sleep(0)
        (failure,) = (await writing).failed
    assert "wants answers without end" in str(failure.error)


@pytest.mark.parametrize("packet", [b"\xc0\x00", b"\x62\x02\x00\x07"], ids=["PINGREQ", "PUBREL"])
async def test_an_answer_that_few_brokers_ask_for_is_given(packet: bytes) -> None:
    async with strict_broker() as broker, opened(broker.url) as sink:
        client = await broker.client()
        client.send(packet)
        assert not (await sink.write([make_message()])).failed
        if packet[0] == 0x62:
            await eventually(lambda: (0x70, 7) in client.answers)
        else:
            await eventually(lambda: "an unexpected packet 0xd0" in broker.faults)
