"""Event Hubs beyond the contract: why it does not open, where events go, and within which limits.

Covers also: edgerouter_azure.event_hubs.shared_key.
"""

from __future__ import annotations

import asyncio
import ssl
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from edgerouter import Unauthorized, Unavailable
from edgerouter.testing import make_context, make_message, make_messages
from edgerouter_azure.event_hubs.config import EventHubsConfig
from edgerouter_azure.event_hubs.sink import EventHubsSink
from support.amqp.conformance import KEY, POLICY, EventHubsServer
from support.amqp.hub import Hub
from support.amqp.sas import Policy
from support.azure.entra import CLIENT, CLIENT_SECRET, TENANT, Entra
from support.certificates import Authority
from support.sinks import opened as open_sink


def opened(server: EventHubsServer, **fields: Any) -> AbstractAsyncContextManager[EventHubsSink]:
    return open_sink(EventHubsSink, {"connection_string": server.connection_string(), **fields})


async def open_error(server: EventHubsServer, **fields: Any) -> str:
    with pytest.raises(Unavailable) as caught:
        async with opened(server, **fields):
            pass
    assert type(caught.value) is Unauthorized, caught.value
    return str(caught.value)


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
        try:
            with pytest.raises(Unavailable, match=r"nothing answered in AMQP within 0.5 s; is this the address of"):
                async with open_sink(EventHubsSink, {"connection_string": text}, probe=True):
                    pass
        finally:
            ended.set()


async def test_a_file_of_authorities_that_is_missing_is_named(tmp_path: Path) -> None:
    text = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=YQ==;EntityPath=h"
    config = EventHubsConfig.model_validate({"connection_string": text, "ca_file": str(tmp_path / "nothing.pem")})
    with pytest.raises(Unauthorized, match=r"ca_file .*nothing\.pem cannot be used: No such file"):
        async with EventHubsSink.open(config, make_context()):
            pass


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
