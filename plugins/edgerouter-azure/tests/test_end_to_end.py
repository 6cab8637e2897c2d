"""A router process from YAML moves messages from mosquitto into Event Hubs and Blob Storage: complete, byte for byte, in order.

Covers: edgerouter_azure.blob.sink, edgerouter_azure.event_hubs.sink.
"""

from __future__ import annotations

import asyncio
import ssl
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import aiomqtt
import pytest

from support.amqp.conformance import KEY, POLICY, EventHubsServer
from support.amqp.faults import CloseConnection, Cut, DetachLink, Fault, FaultPlan, Outcome, Reject
from support.amqp.sas import Policy
from support.azure.azurite import API_VERSION, Azurite, BlobRelay
from support.by_topic import Payloads, numbered, publish_all
from support.certificates import Authority
from support.mosquitto import Mosquitto
from support.records import records
from support.router import RouterProcess, router

KEYS = 20
POISON = b"~poison~"
BUSY = "The entity is being throttled. Error code : 50002. Please wait 0.2 seconds and try again."


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    with Mosquitto(tmp_path / "broker", ("max_queued_messages 0", "max_inflight_messages 1000", "log_type error")) as broker:
        yield broker


@pytest.fixture
async def amqp() -> AsyncIterator[EventHubsServer]:
    async with EventHubsServer().running() as server:
        yield server
        assert server.service.problems == []


@pytest.fixture
async def websocket(server_tls: ssl.SSLContext) -> AsyncIterator[EventHubsServer]:
    async with EventHubsServer(tls=server_tls).running() as server:
        yield server
        assert server.service.problems == []


@pytest.fixture
async def relay(azurite: Azurite) -> AsyncIterator[BlobRelay]:
    async with BlobRelay(azurite, azurite.new_container()).running() as running:
        yield running


class Azure(NamedTuple):
    """All services."""

    amqp: EventHubsServer
    websocket: EventHubsServer
    relay: BlobRelay


@pytest.fixture
def azure(amqp: EventHubsServer, websocket: EventHubsServer, relay: BlobRelay) -> Azure:
    return Azure(amqp, websocket, relay)


@pytest.fixture
def config(broker: Mosquitto, azure: Azure, authority: Authority) -> dict[str, Any]:
    amqp, websocket, relay = azure
    retry = {"first_delay": "20ms", "max_delay": "200ms"}
    events = {"type": "azure-event-hubs", "partition_key": "{topic}", "concurrency": 4, "retry": retry, "timeout": "1s"}
    blobs = {
        "type": "azure-blob", "connection_string": relay.connection_string(), "container": relay.container,
        "api_version": API_VERSION, "framing": "length-prefixed", "concurrency": 4, "retry": retry, "timeout": "1s",
        "batch": {"linger": "200ms"},
    }  # fmt: skip
    return {
        "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["plant/#"]}},
        "sinks": {
            "amqp": {**events, "connection_string": amqp.connection_string(), "token_lifetime": 2},
            "websocket": {
                **events, "connection_string": websocket.connection_string(websocket=True), "transport": "websocket",
                "endpoint": f"localhost:{websocket.websocket_port}", "ca_file": str(authority.certificate),
            },
            "archive": {**blobs, "key": "block/{topic}/{first:12}-{id}.bin.gz"},
            "growing": {**blobs, "key": "append/{topic}.bin", "blob_type": "append"},
        },
    }  # fmt: skip


async def publish(port: int, count: int, first: int = 0) -> Payloads:
    """Publish binary payloads; `first` is the number of the first message."""
    payloads = numbered(KEYS, count, first)
    await publish_all(port, payloads)
    return payloads


async def publish_until(
    port: int, done: Callable[[], bool], least: int = 0, wanted: Callable[[], Awaitable[object]] | None = None
) -> Payloads:
    """Publish until a condition holds, and at least so many messages; `wanted` waits until more are."""
    payloads: Payloads = {f"plant/{number}/t": [] for number in range(KEYS)}
    first = 0
    async with asyncio.timeout(90):
        while first < least or not done():
            for topic, more in (await publish(port, 200, first)).items():
                payloads[topic] += more
            first += 200
            if wanted is not None:
                await wanted()
    return payloads


def in_event_hub(server: EventHubsServer) -> Payloads:
    """Payloads by topic; a message that was sent again counts where it came first."""
    seen: set[Any] = set()
    payloads: Payloads = defaultdict(list)
    for event in server.hub.events:
        topic = event.message.application_properties["topic"]
        assert event.partition_key == topic
        if event.message.properties["message-id"] not in seen:
            seen.add(event.message.properties["message-id"])
            payloads[topic].append(event.body)
    return dict(payloads)


def in_blobs(relay: BlobRelay, folder: str) -> Payloads:
    """Payloads by topic, blobs in the order of their names."""
    import gzip

    payloads: Payloads = defaultdict(list)
    for name, stored in sorted(relay.blobs().items()):
        if not name.startswith(folder):
            continue
        data = gzip.decompress(stored) if name.endswith(".gz") else stored
        topic = "/".join(name.removesuffix(".bin").split("/")[1:4])
        payloads[topic] += records(data)
    return dict(payloads)


async def settled(process: RouterProcess, count: int, seconds: float = 60) -> dict[str, Any]:
    return await process.until(
        lambda status: all(sink["delivered"] + sink["dead_lettered"] == count for sink in status["sinks"].values()), seconds
    )


async def test_3000_messages_arrive_in_both_services(
    config: dict[str, Any], broker: Mosquitto, azure: Azure, tmp_path: Path
) -> None:
    """3,000 and more, until tokens have expired in mid-run."""
    amqp, websocket, relay = azure
    for sink in config["sinks"].values():
        sink["timeout"] = "60s"  # a busy machine must not time out, or something would be sent twice
    async with router(tmp_path, config) as process:
        await process.start()
        published = await publish_until(broker.port, lambda: amqp.service.connected > 4, least=3_000)
        count = sum(map(len, published.values()))
        status = await settled(process, count)
        assert await process.stop() == 0
    assert [sink["dead_lettered"] for sink in status["sinks"].values()] == [0] * 4
    for server in (amqp, websocket):
        assert in_event_hub(server) == published
    assert len(websocket.hub.events) == count, "nothing was sent twice"
    assert in_blobs(relay, "block/") == published
    assert in_blobs(relay, "append/") == published


def fault_each(plan: FaultPlan, faults: Sequence[Fault]) -> Callable[[int, bytes], Fault | None]:
    """Each third delivery meets the next fault, until all were met; poison is always rejected."""

    def fault(number: int, payload: bytes) -> Fault | None:
        if POISON in payload:
            return Reject("amqp:link:message-size-exceeded")
        left = [each for each in faults if each not in plan.seen]
        return left[0] if left and number % 3 == 0 else None

    return fault


async def test_nothing_is_lost_and_only_poison_is_dead_lettered_while_everything_fails_in_turn(
    config: dict[str, Any], broker: Mosquitto, azure: Azure, tmp_path: Path
) -> None:
    amqp, websocket, relay = azure
    faults: tuple[Fault, ...] = (
        Reject("com.microsoft:server-busy", BUSY), DetachLink("com.microsoft:server-busy", BUSY), Reject("amqp:internal-error"),
        DetachLink("amqp:link:detach-forced"), DetachLink("amqp:link:stolen"), DetachLink("amqp:unauthorized-access"),
        DetachLink("amqp:not-found"), CloseConnection(), Cut.BEFORE, Cut.AFTER, Cut.SILENT, Outcome.RELEASED, Outcome.MODIFIED,
    )  # fmt: skip
    for name, server in (("amqp", amqp), ("websocket", websocket)):
        config["sinks"][name]["batch"] = {"max_messages": 40}  # so that there are enough transfers for all faults
        server.service.faults.on_delivery = fault_each(server.service.faults, faults)
    for sink in config["sinks"].values():
        sink["timeout"] = "3s"  # for a busy machine; two faults wait it out

    def hungry(status: dict[str, Any]) -> bool:
        return any(status["sinks"][name]["pending"] < 2000 for name in ("amqp", "websocket"))

    async with router(tmp_path, config) as process:
        await process.start()
        trouble = asyncio.create_task(make_trouble(relay))
        felt = [server.service.faults.seen for server in (amqp, websocket)]
        published = await publish_until(
            broker.port,
            lambda: trouble.done() and all(set(faults) <= set(seen) for seen in felt),
            wanted=lambda: process.until(hungry, 60),
        )
        await trouble
        async with aiomqtt.Client("127.0.0.1", broker.port) as client:
            await client.publish("plant/0/t", POISON, qos=1)
            await client.publish("plant/0/t", b"after the poison", qos=1)
        status = await settled(process, sum(map(len, published.values())) + 2, 90)
        assert await process.stop() == 0
    assert [sink["dead_lettered"] for sink in status["sinks"].values()] == [1, 1, 0, 0]
    for server in (amqp, websocket):
        arrived = in_event_hub(server)
        assert arrived["plant/0/t"].pop() == b"after the poison"
        assert arrived == published
    for folder in ("block/", "append/"):
        arrived = in_blobs(relay, folder)
        assert [arrived["plant/0/t"].pop() for _ in range(2)] == [b"after the poison", POISON]
        assert arrived == published, "each message once"


TROUBLES = ("fail", "throttle", "refuse", "cut_next", "lose_next_response", "stall", "lose_next_response")


async def make_trouble(relay: BlobRelay) -> None:
    """Each trouble until it has been felt."""
    for trouble in TROUBLES:
        before = await relay.requests()
        await getattr(relay, trouble)(*([1] if trouble == "throttle" else []))
        while await relay.requests() <= before + 1:
            await asyncio.sleep(0.01)
        await relay.heal()


async def test_check_connect_distinguishes_the_reasons_why_nothing_can_be_sent(
    amqp: EventHubsServer, relay: BlobRelay, broker: Mosquitto, tmp_path: Path
) -> None:
    async with EventHubsServer().running() as unpermitted, EventHubsServer().running() as later:
        unpermitted.service.policies[POLICY] = Policy(KEY, frozenset({"Listen"}))
        later.service.clock_offset = 2 * 3600
        strings = {
            "wrong_key": amqp.connection_string(key="bm90IHRoZSBrZXk="),
            "missing_hub": amqp.connection_string(hub="plan"),
            "missing_role": unpermitted.connection_string(),
            "wrong_clock": later.connection_string(),
            "good": amqp.connection_string(),
        }
        sinks: dict[str, Any] = {name: {"type": "azure-event-hubs", "connection_string": text} for name, text in strings.items()}
        blob = {"type": "azure-blob", "container": "archive", "api_version": API_VERSION}
        wrong = relay.azurite.connection_string(key="bm90IHRoZSBrZXk=")
        sinks["wrong_account_key"] = {**blob, "connection_string": wrong}
        sinks["missing_container"] = {**blob, "connection_string": relay.connection_string(), "create_container": False}
        config = {"sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["#"]}}, "sinks": sinks}
        async with router(tmp_path, config) as process:
            code, said = await process.check_connect()
    assert code == 2, said
    for expected in (
        "the key is wrong",
        "there is no such hub",
        "Azure Event Hubs Data Sender",
        "is the device's clock right?",
        "failed to authenticate the request",
        "there is no container archive",
    ):
        assert expected in said, said
    assert "bm90IHRoZSBrZXk=" not in said
