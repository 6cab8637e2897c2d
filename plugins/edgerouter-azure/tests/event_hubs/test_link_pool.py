"""Links survive faults of the service: each error says what happens next, and the next write works."""

from __future__ import annotations

import asyncio
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from edgerouter import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.testing import make_messages
from edgerouter_azure.event_hubs.sink import EventHubsSink
from support.amqp.conformance import EventHubsServer
from support.amqp.engine import Connection
from support.amqp.faults import CloseConnection, Cut, DetachLink, Outcome, Reject
from support.amqp.hub import Hub
from support.amqp.links import Link
from support.mqtt_source import eventually
from support.sinks import opened as open_sink


def opened(server: EventHubsServer, **fields: Any) -> AbstractAsyncContextManager[EventHubsSink]:
    return open_sink(EventHubsSink, {"connection_string": server.connection_string(), **fields})


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
        await eventually(lambda: not server.service.connections)
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
        await eventually(lambda: len(server.service.connections) == 1)


def hub_links(connection: Connection) -> list[Link]:
    links = [link for session in connection.sessions.values() for link in session.links.values()]
    return [link for link in links if link.incoming and not link.address.startswith("$")]
