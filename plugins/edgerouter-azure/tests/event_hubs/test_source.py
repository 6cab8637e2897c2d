"""The source azure-event-hubs: what comes in, when it is checkpointed, and what a crash costs.

Covers also: edgerouter_azure.event_hubs.checkpoints, edgerouter_azure.event_hubs.consumer_link, edgerouter_azure.event_hubs.hub,
edgerouter_azure.event_hubs.progress, edgerouter_azure.event_hubs.received, edgerouter_azure.event_hubs.source_config.
"""

from __future__ import annotations

import asyncio
import json
import random
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from edgerouter import Delivery, Unavailable
from edgerouter_azure.event_hubs.source import EventHubsSource
from support.amqp.conformance import EventHubsServer
from support.amqp.faults import Reject
from support.amqp.filling import put, spread
from support.amqp.sas import Policy
from support.amqp.server import serve_tcp
from support.azure.azurite import API_VERSION, Azurite
from support.chaos import chaos
from support.mqtt_source import eventually
from support.receiving import archived, arrived_exactly, opened
from support.router import router


@pytest.fixture
async def hub() -> AsyncIterator[EventHubsServer]:
    async with EventHubsServer().running() as server:
        yield server
        assert server.service.problems == []


def settings(hub: EventHubsServer, **more: Any) -> dict[str, Any]:
    return {"connection_string": hub.connection_string(), "start": "oldest", "checkpoint_interval": "50ms", **more}


def checkpoints(folder: Path) -> dict[str, list[Any]]:
    file = folder / "checkpoints.json"
    found: dict[str, list[Any]] = json.loads(file.read_text())["partitions"] if file.exists() else {}
    return found


async def test_a_body_comes_in_byte_for_byte_and_what_the_sink_put_beside_it_is_restored(hub: EventHubsServer) -> None:
    binary = bytes(range(256))
    put(hub, 0, b"plain")
    put(
        hub, 1, binary,
        properties={"content-type": "text/plain", "reply-to": "back", "correlation-id": b"\x00\x01"},
        application_properties={"topic": "plant/1/valve", "qos": 0, "retained": True, "device": "d7", "user_topic": "x"},
    )  # fmt: skip
    async with opened(EventHubsSource, settings(hub)) as source:
        messages = {message.payload: message for message in await source.messages(2)}
    assert (messages[b"plain"].topic, messages[b"plain"].properties) == ("plant", None)
    restored = messages[binary]
    assert (restored.topic, restored.qos, restored.retained) == ("plant/1/valve", 0, True)
    assert restored.properties is not None
    assert restored.properties.user == (("device", "d7"), ("topic", "x"))
    assert (restored.properties.content_type, restored.properties.response_topic) == ("text/plain", "back")
    assert restored.properties.correlation_data == b"\x00\x01"


async def test_all_partitions_come_in_each_in_its_order(hub: EventHubsServer) -> None:
    sent = [b"%d" % number for number in range(4000)]
    async with opened(EventHubsSource, settings(hub)) as source:
        await source.connected()
        spread(hub, sent)
        received = [message.payload for message in await source.messages(4000)]
    for partition in range(4):
        assert [each for each in received if int(each) % 4 == partition] == sent[partition::4]


async def test_a_checkpoint_is_kept_only_of_what_is_safe(hub: EventHubsServer, tmp_path: Path) -> None:
    async with opened(EventHubsSource, settings(hub, partitions=["2"]), state=tmp_path) as source:
        put(hub, 2, b"a", b"b")
        first = await source.gathered(2)
        put(hub, 2, b"c")
        await source.gathered(1)
        await eventually(lambda: checkpoints(tmp_path) == {"2": [-1, "-1"]})
        for delivery in first:
            delivery.acknowledge()
        await eventually(lambda: checkpoints(tmp_path) == {"2": [1, "1"]})
    async with opened(EventHubsSource, settings(hub, partitions=["2"]), state=tmp_path) as source:
        assert [message.payload for message in await source.messages(1)] == [b"c"]
    assert checkpoints(tmp_path) == {"2": [2, "2"]}


async def test_what_the_spool_knows_counts_more_than_an_older_checkpoint(hub: EventHubsServer, tmp_path: Path) -> None:
    put(hub, 0, b"first", b"second")
    async with opened(EventHubsSource, settings(hub)) as source:
        stored = await source.gathered(2)  # and the process dies before it keeps a checkpoint
    put(hub, 0, b"third")
    earlier = [Delivery(delivery.messages, lambda: None, delivery.receipt) for delivery in stored]
    async with opened(EventHubsSource, settings(hub), unacknowledged=earlier, state=tmp_path) as source:
        assert [message.payload for message in await source.messages(1)] == [b"third"]


async def test_now_means_the_first_start_and_not_each(hub: EventHubsServer, tmp_path: Path) -> None:
    put(hub, 1, b"before")
    async with opened(EventHubsSource, settings(hub, start="now"), state=tmp_path) as source:
        await source.connected()
    put(hub, 1, b"while it was away")
    async with opened(EventHubsSource, settings(hub, start="now"), state=tmp_path) as source:
        assert [message.payload for message in await source.messages(1)] == [b"while it was away"]


async def test_own_events_are_left_out_and_not_read_again(hub: EventHubsServer, tmp_path: Path) -> None:
    put(hub, 0, b"own", properties={"message-id": "0123456789abcdef-7"})
    put(hub, 1, b"other", properties={"message-id": "fedcba9876543210-7"})
    async with opened(EventHubsSource, settings(hub, skip_own=True), state=tmp_path) as source:
        assert [message.payload for message in await source.messages(1)] == [b"other"]
        await source.nothing_comes()
        put(hub, 0, b"own", properties={"message-id": "0123456789abcdef-8"})
        await eventually(lambda: checkpoints(tmp_path)["0"] == [1, "1"])


async def test_a_router_that_does_not_pull_stops_the_reading_and_a_cut_goes_on_where_it_was(hub: EventHubsServer) -> None:
    put(hub, 0, *(b"%d" % number for number in range(100)))
    config = settings(hub, max_unacknowledged=30, prefetch=10, partitions=["0"], keep_alive="100ms")
    async with opened(EventHubsSource, config) as source:
        held = await source.gathered(30)
        await source.nothing_comes()
        for connection in list(hub.service.connections):
            connection.abort()
        received = [message.payload for delivery in held for message in delivery.messages]
        for delivery in held:
            delivery.acknowledge()
        received += [message.payload for message in await source.messages(70)]
    assert received == [b"%d" % number for number in range(100)]


async def test_a_connection_that_the_network_forgot_is_noticed_and_opened_again(hub: EventHubsServer) -> None:
    """It causes no error, and nothing is sent that could fail: only the service's silence shows it."""
    async with chaos(hub.amqp_port) as network:
        through = hub.connection_string().replace(f":{hub.amqp_port};", f":{network.port};")
        async with opened(EventHubsSource, settings(hub, connection_string=through, keep_alive="400ms")) as source:
            await source.connected()
            put(hub, 0, b"before")
            received = [message.payload for message in await source.messages(1)]
            network.forget()
            put(hub, 0, b"after")
            received += [message.payload for message in await source.messages(1)]
    assert received == [b"before", b"after"]


async def test_a_hub_in_which_nothing_happens_keeps_its_links(hub: EventHubsServer) -> None:
    async with opened(EventHubsSource, settings(hub, keep_alive="400ms")) as source:
        await source.connected()
        connected = hub.service.connected
        await asyncio.sleep(2.5)  # more than twice the silence that would be taken for an end
        assert hub.service.connected == connected


async def test_a_missing_permission_to_listen_is_reported(hub: EventHubsServer) -> None:
    hub.service.faults.on_attach = Reject("amqp:unauthorized-access", "Unauthorized access. 'Listen' claim(s) are required.")
    async with opened(EventHubsSource, settings(hub)) as source:
        with pytest.raises(Unavailable, match="needs the role Azure Event Hubs Data Receiver"):
            await source.delivery()


async def test_checkpoints_in_blob_storage_are_those_of_azures_own_clients(hub: EventHubsServer, azurite: Azurite) -> None:
    container = azurite.new_container()
    store = {"connection_string": azurite.connection_string(), "container": container, "api_version": API_VERSION}
    put(hub, 3, b"a", b"b")
    async with opened(EventHubsSource, settings(hub, checkpoint_store=store)) as source:
        await source.messages(2)
    host = f"localhost:{hub.amqp_port}"
    with azurite.service() as service:
        blobs = {blob.name: blob.metadata for blob in service.get_container_client(container).list_blobs(include=["metadata"])}
    assert blobs[f"{host}/plant/$default/checkpoint/3"] == {"offset": "1", "sequencenumber": "1"}
    put(hub, 3, b"c")
    async with opened(EventHubsSource, settings(hub, checkpoint_store=store)) as source:
        assert [message.payload for message in await source.messages(1)] == [b"c"]


def config(connection_string: str, folder: Path) -> dict[str, Any]:
    cloud = {"type": "azure-event-hubs", "connection_string": connection_string, "start": "oldest", "topic": "commands/in"}
    return {"sources": {"cloud": cloud}, "sinks": {"archive": {"type": "file", "path": str(folder)}}}


def payloads(count: int) -> list[bytes]:
    dice = random.Random(count)
    return [number.to_bytes(4, "big") + dice.randbytes(30) for number in range(count)]


async def test_kills_in_the_middle_lose_nothing_and_repeat_what_came_since_the_checkpoint(
    hub: EventHubsServer, tmp_path: Path
) -> None:
    sent = payloads(8000)
    spread(hub, sent)
    async with router(tmp_path, config(hub.connection_string(), tmp_path / "archive")) as process:
        for least in (200, 2500):
            await process.start()
            await process.until(archived(least))
            await process.kill()
        await process.start()
        kept = tmp_path / "spool" / "sources" / "cloud"
        await eventually(lambda: checkpoints(kept) == {str(number): [1999, "1999"] for number in range(4)}, 90)
        status = await process.until_delivered()
        assert await process.stop() == 0
    assert 8000 <= status["sinks"]["archive"]["matched"] <= 14_000
    # the file sink may write once more what it had written when it was killed
    arrived_exactly(tmp_path / "archive", sent, repeats=8000)


async def test_a_service_that_is_down_at_the_start_is_waited_for(hub: EventHubsServer, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    put(hub, 1, b"late")
    text = hub.connection_string().replace(f"localhost:{hub.amqp_port}", f"localhost:{port}")
    async with AsyncExitStack() as stack, router(tmp_path, config(text, tmp_path / "archive")) as process:
        await process.start(connected=False)
        await process.until(lambda status: "receive from event hub plant" in status["sources"]["cloud"]["reason"])
        await stack.enter_async_context(serve_tcp(hub.service, port=port))
        await process.until(lambda status: status["sinks"]["archive"]["delivered"] == 1)
        assert await process.stop() == 0
    arrived_exactly(tmp_path / "archive", [b"late"])


async def test_check_connect_says_what_is_wrong(hub: EventHubsServer, tmp_path: Path) -> None:
    hub.service.policies["writer"] = Policy("another-key", claims=frozenset({"Send"}))
    wrong = config(hub.connection_string(hub="nowhere"), tmp_path / "archive")
    wrong["sources"]["good"] = {"type": "azure-event-hubs", "connection_string": hub.connection_string()}
    async with router(tmp_path, wrong) as process:
        code, said = await process.check_connect()
    assert code == 2, said
    assert "source good (azure-event-hubs): ok" in said
    assert "source cloud (azure-event-hubs): failed: receive from event hub nowhere" in said
