"""Unacknowledged messages come again and are stored once, tested with a real mosquitto.

Covers: edgerouter.mqtt.connection, edgerouter.sources.mqtt.connection, edgerouter.sources.mqtt.inflow.
"""

from __future__ import annotations

from pathlib import Path

import aiomqtt
import pytest

from support.chaos import chaos
from support.mosquitto import Mosquitto
from support.mqtt_source import eventually, opened, publish

both_protocols = pytest.mark.parametrize("protocol", ["5", "3.1.1"])


@both_protocols
@pytest.mark.parametrize("qos", [1, 2])
async def test_what_was_not_acknowledged_comes_again_in_the_next_run(broker: Mosquitto, protocol: str, qos: int) -> None:
    async with opened(broker, protocol=protocol, qos=2) as source:
        await source.connected()
        await publish(broker, "t", b"safe", b"unsafe", qos=qos)
        first = await source.messages(2, acknowledge=False)
    async with opened(broker, protocol=protocol, qos=2) as source:
        again = await source.messages(2)
        await source.nothing_comes()
    assert first == [
        type(message)(message.topic, message.payload, old.received_at, message.qos, source="local")
        for message, old in zip(again, first, strict=True)
    ]
    async with opened(broker, protocol=protocol, qos=2) as source:
        await source.connected()
        await source.nothing_comes()


@both_protocols
@pytest.mark.parametrize("qos", [1, 2])
async def test_an_acknowledgement_that_found_no_connection_costs_at_most_one_duplicate(
    broker: Mosquitto, protocol: str, qos: int
) -> None:
    async with chaos(broker.port) as proxy, opened(f"mqtt://127.0.0.1:{proxy.port}", protocol=protocol, qos=2) as source:
        await source.connected()
        await publish(broker, "t", b"1", qos=qos)
        held = await source.delivery()
        proxy.refuse()
        await source.disconnected()
        held.acknowledge()
        await publish(broker, "t", b"2", qos=qos)
        proxy.heal()
        payloads = [message.payload for message in held.messages]
        while payloads[-1] != b"2":
            payloads += [message.payload for message in await source.messages(1)]
        await source.nothing_comes()
    assert payloads in ([b"1", b"2"], [b"1", b"1", b"2"])
    async with opened(broker, protocol=protocol, qos=2) as source:
        await source.connected()
        await source.nothing_comes()


@both_protocols
@pytest.mark.parametrize("qos", [1, 2])
async def test_a_message_held_over_a_reconnect_is_delivered_once_and_acknowledged_on_the_new_connection(
    broker: Mosquitto, protocol: str, qos: int
) -> None:
    async with chaos(broker.port) as proxy, opened(f"mqtt://127.0.0.1:{proxy.port}", protocol=protocol, qos=2) as source:
        await source.connected()
        await publish(broker, "t", b"1", b"2", b"3", qos=qos)
        held = await source.delivery()
        await eventually(lambda: source.source.in_flight.unacknowledged == 3)
        proxy.cut()
        await source.disconnected()
        await source.connected()
        await eventually(lambda: source.source.session.redelivery.recognised == 3)
        held.acknowledge()
        payloads = [message.payload for message in held.messages]
        if len(payloads) < 3:
            payloads += [message.payload for message in await source.messages(3 - len(payloads))]
        await source.nothing_comes()
    assert payloads == [b"1", b"2", b"3"]
    async with opened(broker, protocol=protocol, qos=2) as source:
        await source.connected()
        await source.nothing_comes()


async def test_an_acknowledgement_of_a_connection_that_is_gone_does_nothing(broker: Mosquitto) -> None:
    async with chaos(broker.port) as proxy, opened(f"mqtt://127.0.0.1:{proxy.port}", clean_session=True) as source:
        await source.connected()
        await publish(broker, "t", b"old")
        held = await source.delivery()
        proxy.cut()
        await source.disconnected()
        await source.connected()
        # a new session restarts its packet ids: this message has the packet id of the old one
        await publish(broker, "t", b"new")
        (fresh,) = (await source.delivery(),)
        before = broker.log.count("Received PUBACK from edgerouter")
        held.acknowledge()
        held.acknowledge()
        await publish(broker, "t", b"newer")
        await source.delivery()
        assert broker.log.count("Received PUBACK from edgerouter") == before
        fresh.acknowledge()
        await eventually(lambda: broker.log.count("Received PUBACK from edgerouter") == before + 1)


@both_protocols
@pytest.mark.parametrize("qos", [1, 2])
async def test_after_a_crash_what_the_spool_holds_is_acknowledged_and_not_stored_again(
    broker: Mosquitto, tmp_path: Path, protocol: str, qos: int
) -> None:
    state = tmp_path / "state"
    async with chaos(broker.port) as proxy:
        url = f"mqtt://127.0.0.1:{proxy.port}"
        async with opened(url, state=state, protocol=protocol, qos=2) as source:
            await source.connected()
            await publish(broker, "t", b"0", qos=qos)
            await source.messages(1)
            await publish(broker, "t", b"1", b"2", b"3", qos=qos)
            stored = [await source.delivery()]
            while sum(len(each.messages) for each in stored) < 3:
                stored.append(await source.delivery())
            proxy.refuse()
            await source.disconnected()
        proxy.heal()
        await publish(broker, "t", b"4", qos=qos)
        async with opened(url, state=state, unacknowledged=stored, protocol=protocol, qos=2) as source:
            (message,) = await source.messages(1)
            assert message.payload == b"4"
            assert source.source.session.redelivery.recognised == 3
            await source.nothing_comes()
            await eventually(lambda: source.source.in_flight.unacknowledged == 0)
        # the receipts are used up: later runs ignore them
        await publish(broker, "t", b"1", b"2", b"3", qos=qos)
        async with opened(url, state=state, unacknowledged=stored, protocol=protocol, qos=2) as source:
            assert [message.payload for message in await source.messages(3)] == [b"1", b"2", b"3"]


async def test_receipts_of_a_session_that_the_broker_lost_mean_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    state = tmp_path / "state"
    async with opened(broker, state=state) as source:
        await source.connected()
        await publish(broker, "t", b"same")
        stored = await source.delivery()
    async with aiomqtt.Client("127.0.0.1", broker.port, identifier="edgerouter-0123456789ab-local", clean_session=True):
        pass
    async with opened(broker, state=state, unacknowledged=[stored]) as source:
        await source.connected()
        await publish(broker, "t", b"same")
        assert [message.payload for message in await source.messages(1)] == [b"same"]
