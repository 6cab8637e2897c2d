"""Event Hubs beyond the contract: why it does not open, what survives, where events go, and what they carry.

Covers also: edgerouter_azure.event_hubs.config, edgerouter_azure.event_hubs.link_pool, edgerouter_azure.event_hubs.shared_key.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from azure.eventhub.aio import EventHubConsumerClient
from pydantic import ValidationError

from edgerouter import Properties, Rejected, SinkContext, Throttled, Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_azure.event_hubs.config import EventHubsConfig
from edgerouter_azure.event_hubs.sink import EventHubsSink
from support.amqp.conformance import KEY, POLICY, EventHubsServer
from support.amqp.engine import Connection
from support.amqp.faults import CloseConnection, Cut, DetachLink, Outcome, Reject
from support.amqp.hub import Hub
from support.amqp.links import Link
from support.amqp.sas import Policy
from support.azure.entra import CLIENT, CLIENT_SECRET, TENANT, Entra
from support.certificates import Authority


@pytest.fixture
async def server() -> AsyncIterator[EventHubsServer]:
    async with EventHubsServer().running() as running:
        yield running
        assert running.service.problems == []


@asynccontextmanager
async def opened(server: EventHubsServer, context: SinkContext | None = None, **fields: Any) -> AsyncIterator[EventHubsSink]:
    config = EventHubsConfig.model_validate({"connection_string": server.connection_string(), **fields})
    async with EventHubsSink.open(config, context or make_context()) as sink:
        yield sink


async def open_error(server: EventHubsServer, **fields: Any) -> str:
    with pytest.raises(Unavailable) as caught:
        async with opened(server, **fields):
            pass
    assert type(caught.value) is Unauthorized, caught.value
    return str(caught.value)


# -- why it does not open


async def test_a_wrong_key_is_recognised(server: EventHubsServer) -> None:
    assert "key is wrong" in await open_error(server, connection_string=server.connection_string(key="another-key"))


async def test_a_missing_hub_is_recognised(server: EventHubsServer) -> None:
    assert "no such hub" in await open_error(server, connection_string=server.connection_string(hub="plan"))


async def test_a_missing_hub_is_recognised_by_the_answer_to_the_login(server: EventHubsServer) -> None:
    server.service.faults.on_token = (404, "The messaging entity 'sb://plant' could not be found.")
    assert "no such hub" in await open_error(server)


@pytest.mark.parametrize("attach_first", [False, True])
async def test_a_missing_role_is_recognised(server: EventHubsServer, attach_first: bool) -> None:
    server.service.policies[POLICY] = Policy(KEY, frozenset({"Listen"}))
    server.service.faults.attach_first = attach_first
    assert "Azure Event Hubs Data Sender" in await open_error(server)


async def test_a_wrong_clock_is_recognised(server: EventHubsServer) -> None:
    server.service.clock_offset = 2 * 3600
    assert "is the device's clock right?" in await open_error(server)


async def test_a_missing_partition_is_recognised(server: EventHubsServer) -> None:
    assert "is the partition id right?" in await open_error(server, partition_id="99")


async def test_an_untrusted_certificate_is_recognised(server_tls: ssl.SSLContext) -> None:
    async with EventHubsServer(tls=server_tls).running() as server:
        for transport, port in (("amqp", server.amqp_port), ("websocket", server.websocket_port)):
            error = await open_error(server, transport=transport, endpoint=f"localhost:{port}")
            assert "certificate is not trusted" in error


async def test_a_host_that_is_not_there_is_unavailable(server: EventHubsServer) -> None:
    with pytest.raises(Unavailable) as caught:
        async with opened(
            server, connection_string=f"Endpoint=sb://nowhere.invalid;SharedAccessKeyName=a;SharedAccessKey={KEY}", hub="h"
        ):
            pass
    assert not isinstance(caught.value, Unauthorized)


async def test_a_service_that_accepts_and_says_nothing_is_unavailable_in_time() -> None:
    async def say_nothing(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    mute = await asyncio.start_server(say_nothing, "127.0.0.1", 0)
    port = mute.sockets[0].getsockname()[1]
    text = f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=a;SharedAccessKey=b;EntityPath=h;UseDevelopmentEmulator=true"
    config = EventHubsConfig.model_validate({"connection_string": text, "connect_timeout": 0.3})
    async with mute:
        with pytest.raises(Unavailable, match="nothing answered in AMQP"):
            async with EventHubsSink.open(config, make_context()):
                pass


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({}, "either connection_string or namespace"),
        ({"namespace": "plant"}, "hub is needed"),
        ({"connection_string": "Endpoint=sb://x;SharedAccessKeyName=a", "hub": "h"}, "SharedAccessKey"),
        ({"connection_string": "SharedAccessKeyName=a;SharedAccessKey=s3cret", "hub": "h"}, "no Endpoint"),
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


async def test_an_application_of_entra_logs_in(server_tls: ssl.SSLContext, authority: Authority, entra: Entra) -> None:
    async with EventHubsServer(tls=server_tls).running() as server:
        server.service.jwt_secret = entra.signing
        fields = {
            "namespace": "localhost.test", "hub": "plant", "endpoint": f"localhost:{server.amqp_port}", "authority": entra.url,
            "ca_file": str(authority.certificate),
            "credential": {"type": "client-secret", "tenant_id": TENANT, "client_id": CLIENT, "client_secret": CLIENT_SECRET},
        }  # fmt: skip
        config = EventHubsConfig.model_validate(fields)
        async with EventHubsSink.open(config, make_context()) as sink:
            await sink.write(make_messages([b"hello"]))
        assert [event.body for event in server.hub.events] == [b"hello"]
        entra.roles = ()
        with pytest.raises(Unauthorized, match="Azure Event Hubs Data Sender"):
            async with EventHubsSink.open(config, make_context()):
                pass


async def test_a_server_that_does_not_speak_amqp_is_reported_before_check_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes the connection and says nothing, or something else."""
    monkeypatch.setattr("edgerouter_azure.event_hubs.sink._PROBE_SECONDS", 0.5)
    ended = asyncio.Event()

    async def silent(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await ended.wait()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        text = f"Endpoint=sb://127.0.0.1:{port};SharedAccessKeyName=a;SharedAccessKey=YQ==;EntityPath=h;UseDevelopmentEmulator=true"
        config = EventHubsConfig.model_validate({"connection_string": text})
        try:
            with pytest.raises(Unavailable, match=r"nothing answered in AMQP within 0.5 s; is this the address of"):
                async with EventHubsSink.open(config, replace(make_context(), probe=True)):
                    pass
        finally:
            ended.set()


async def test_a_file_of_authorities_that_is_missing_is_named(tmp_path: Path) -> None:
    text = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=YQ==;EntityPath=h"
    config = EventHubsConfig.model_validate({"connection_string": text, "ca_file": str(tmp_path / "nothing.pem")})
    with pytest.raises(Unauthorized, match=r"ca_file .*nothing\.pem cannot be used: No such file"):
        async with EventHubsSink.open(config, make_context()):
            pass


# -- what survives


@pytest.mark.parametrize(
    ("fault", "expected"),
    [
        (Reject("com.microsoft:server-busy", "Error code : 50002. Please wait 4 seconds and try again."), Throttled),
        (DetachLink("com.microsoft:server-busy", "Error code : 50002. Please wait 4 seconds and try again."), Throttled),
        (Reject("amqp:internal-error"), Unavailable),
        (Reject("com.microsoft:timeout", "Error code : 50009"), Throttled),
        (DetachLink("amqp:link:detach-forced"), Unavailable),
        (DetachLink("amqp:link:stolen"), Unavailable),
        (DetachLink("amqp:unauthorized-access"), Unauthorized),
        (DetachLink("amqp:not-found"), Unauthorized),
        (Reject("amqp:link:message-size-exceeded"), Rejected),
        (DetachLink("amqp:link:message-size-exceeded"), Rejected),
        (CloseConnection(), Unavailable),
        (Cut.BEFORE, Unavailable),
        (Cut.AFTER, Unavailable),
        (Outcome.RELEASED, Unavailable),
        (Outcome.MODIFIED, Unavailable),
    ],
    ids=str,
)
async def test_the_error_of_a_fault_says_what_happens_next_and_the_next_write_works(
    server: EventHubsServer, fault: Any, expected: type[Exception]
) -> None:
    async with opened(server) as sink:
        server.service.faults.deliveries(fault)
        with pytest.raises((Unavailable, Rejected)) as caught:
            await sink.write(make_messages([b"first"]))
        assert type(caught.value) is expected
        if isinstance(caught.value, Throttled):
            assert caught.value.retry_after == 4
        await sink.write(make_messages([b"second"]))
        assert server.service.deliveries == 2, "one write is one transfer"


async def test_nothing_is_sent_before_the_service_gives_credit() -> None:
    """The SDK takes 10,000 credits for granted, at the start and when none are left; a service may end a link for that."""
    async with EventHubsServer(Hub("plant", credit=0)).running() as server, opened(server) as sink:
        (link,) = [link for connection in server.service.connections for link in hub_links(connection)]
        for number in range(3):
            writing = asyncio.create_task(sink.write(make_messages([b"%d" % number])))
            await asyncio.sleep(0.3)  # nothing is to happen
            assert (server.service.deliveries, writing.done()) == (number, False)
            link.grant(1)
            await writing
        assert len(server.hub.events) == 3
        assert server.service.connected == 1


async def test_an_idle_connection_that_the_service_closed_is_not_noticed() -> None:
    async with EventHubsServer(inactivity=1.2).running() as server, opened(server, keep_alive=60) as sink:
        await sink.write(make_messages([b"before"]))
        await until(lambda: not server.service.connections)
        await sink.write(make_messages([b"after"]))
        assert [event.body for event in sorted(server.hub.events, key=lambda event: event.batch)] == [b"before", b"after"]


async def test_a_link_that_has_nothing_to_send_is_kept_alive() -> None:
    async with EventHubsServer(inactivity=0.8).running() as server, opened(server, keep_alive=0.2) as sink:
        await asyncio.sleep(2)  # more than twice what the service allows
        assert len(server.service.connections) == server.service.connected == 1
        await sink.write(make_messages([b"still here"]))


async def test_a_token_is_renewed_before_it_expires(server: EventHubsServer) -> None:
    """The SDK renews in the last tenth of a token's life, counted in whole seconds: ten seconds are the least to see it."""
    async with opened(server, token_lifetime=10, keep_alive=0.2) as sink:
        while server.service.tokens < 2:
            await sink.write(make_messages([b"x"]))
            await asyncio.sleep(0.05)
        await sink.write(make_messages([b"x"]))
        assert server.service.connected == 1


async def test_a_token_that_expired_is_not_noticed(server: EventHubsServer) -> None:
    # long enough to open a connection with on a busy machine
    async with opened(server, token_lifetime=4, keep_alive=60) as sink:
        count = 0
        while server.service.connected == 1 or count < 8:
            await sink.write(make_messages([b"%d" % count]))
            count += 1
            await asyncio.sleep(0.25)
        assert sorted(int(event.body) for event in server.hub.events) == list(range(count))


async def test_one_answer_that_does_not_come_is_enough_to_leave_all_links_of_a_dead_network(server: EventHubsServer) -> None:
    """Else each of them costs a time-out, one after the other."""
    async with opened(server) as sink:
        await asyncio.gather(*[sink.write(make_messages([b"%d" % number])) for number in range(3)])
        opened_first = server.service.connected
        assert opened_first > 1
        server.service.faults.on_delivery = lambda _number, _payload: Cut.SILENT
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await sink.write(make_messages([b"into the void"]))
        server.service.faults.heal()
        await sink.write(make_messages([b"on a new link"]))
        assert server.service.connected == opened_first + 1
        await until(lambda: len(server.service.connections) == 1)


# -- where events go, and what they carry


async def test_equal_keys_share_a_partition_and_keep_their_order(server: EventHubsServer) -> None:
    async with opened(server, partition_key="{topic[1]}") as sink:
        for number in range(30):
            topic = f"plant/line-{number % 3}/t"
            message = make_message(b"%d" % number, topic=topic, sequence=number + 1)
            assert sink.partition_of(message) == sink.order_of(message) == f"line-{number % 3}"
            await sink.write([message])
    for line in range(3):
        events = [event for event in server.hub.events if event.partition_key == f"line-{line}"]
        assert len({event.partition for event in events}) == 1
        assert [int(event.body) for event in events] == list(range(line, 30, 3))


async def test_a_key_is_never_longer_than_the_service_takes(server: EventHubsServer) -> None:
    async with opened(server, partition_key="{topic}") as sink:
        messages = [make_message(topic="level/" * 40 + end) for end in ("a", "b")]
        keys = [str(sink.partition_of(message)) for message in messages]
        assert len(set(keys)) == 2
        assert max(map(len, keys)) <= 128
        for message in messages:
            await sink.write([message])


async def test_a_partition_id_sends_everything_there(server: EventHubsServer) -> None:
    async with opened(server, partition_id="2") as sink:
        await sink.write(make_messages([b"a", b"b"]))
    assert [event.body for event in server.hub.log[2]] == [b"a", b"b"]


@pytest.mark.parametrize("size", [256 * 1024, 1024 * 1024, 3 * 1024 * 1024])
@pytest.mark.parametrize("fields", [{}, {"partition_key": "{topic}"}], ids=["without a key", "with a key"])
async def test_batches_are_cut_by_what_the_link_allows(size: int, fields: dict[str, Any]) -> None:
    async with EventHubsServer(Hub("plant", max_message_size=size)).running() as server, opened(server, **fields) as sink:
        limit = sink.limits.max_bytes
        assert limit == sink.limits.max_message_bytes == (size - 640 if fields else size)
        message = make_message(b"x" * 1000)
        await sink.write([message] * (limit // sink.size_of(message)))
        assert len(server.hub.events) > limit // 1300


async def test_the_largest_message_that_the_service_takes_is_sent() -> None:
    size = 256 * 1024
    async with EventHubsServer(Hub("plant", max_message_size=size)).running() as server, opened(server) as sink:
        frame = sink.size_of(make_message(b"x" * 1000)) - 1000
        message = make_message(b"x" * (size - frame))
        assert sink.size_of(message) == sink.limits.max_message_bytes
        await sink.write([message])
        assert server.hub.events[0].body == message.payload


async def test_an_event_carries_what_the_message_knows(server: EventHubsServer) -> None:
    properties = Properties(
        (("unit", "C"), ("unit", "K"), ("topic", "other")), "application/cbor", "answers/1", b"\x00\x01", 60, True
    )
    async with opened(server, content_type="text/plain") as sink:
        await sink.write([make_message(b"\xff", qos=2, retained=True, properties=properties), make_message(b"plain", sequence=2)])
    rich, plain = (event.message for event in server.hub.events)
    assert rich.properties == {
        "message-id": "5p00l-1", "reply-to": "answers/1", "correlation-id": b"\x00\x01", "content-type": "application/cbor",
        "creation-time": 1_795_168_800_124,
    }  # fmt: skip
    assert rich.application_properties == {
        "topic": "plant/line-1/temperature", "qos": 2, "retained": True, "unit": "C,K", "user_topic": "other",
    }  # fmt: skip
    assert plain.properties["content-type"] == "text/plain"
    assert plain.application_properties == {"topic": "plant/line-1/temperature", "qos": 1, "retained": False}


async def test_attributes_can_be_left_out(server: EventHubsServer) -> None:
    async with opened(server, attributes=False) as sink:
        await sink.write([make_message(properties=Properties((("unit", "C"),)))])
    assert server.hub.events[0].message.application_properties == {}


async def test_the_size_of_a_message_is_exact(server: EventHubsServer) -> None:
    sizes: list[int] = []
    server.service.faults.on_delivery = lambda _number, payload: sizes.append(len(payload))
    messages = [
        make_message(b"x" * length, properties=properties, topic=topic, sequence=10**places)
        for length in (0, 1, 200, 255, 256, 300, 70_000)
        for properties in (None, Properties(), Properties((("ü", "v" * 300),), "a/b", "r" * 300, b"c" * 300))
        for topic in ("t", "温度/" * 80, "x" * 600)
        for places in (0, 12)
    ]
    async with opened(server) as sink:
        for message in messages:
            await sink.write([message])
        assert sizes == [sink.size_of(message) for message in messages]


async def test_the_consumer_of_the_sdk_reads_the_same_events(server: EventHubsServer) -> None:
    """The test server shares no code with the SDK; the SDK's own consumer has the last word on the encoding."""
    properties = Properties((("unit", "°C"),), "application/json")
    async with opened(server, partition_key="{topic}") as sink:
        await sink.write([make_message(b"\x00" * 300, properties=properties), make_message(b"", sequence=2)])
    got: list[Any] = []

    async def take(_: Any, events: list[Any]) -> None:
        got.extend(events)

    client = EventHubConsumerClient.from_connection_string(server.connection_string(), "$default")
    receiving = asyncio.create_task(client.receive_batch(take, starting_position="-1"))
    await until(lambda: len(got) >= 2)
    receiving.cancel()
    await asyncio.gather(receiving, return_exceptions=True)
    await client.close()
    first, second = got
    assert (first.body_as_str(), second.body_as_str()) == ("\x00" * 300, "")
    assert (first.message_id, first.content_type, first.partition_key) == (
        "5p00l-1",
        "application/json",
        b"plant/line-1/temperature",
    )
    assert first.properties == {b"topic": b"plant/line-1/temperature", b"qos": 1, b"retained": False, b"unit": "°C".encode()}


def hub_links(connection: Connection) -> list[Link]:
    links = [link for session in connection.sessions.values() for link in session.links.values()]
    return [link for link in links if link.incoming and not link.address.startswith("$")]


async def until(condition: Any) -> None:
    async with asyncio.timeout(20):
        while not condition():
            await asyncio.sleep(0.02)
