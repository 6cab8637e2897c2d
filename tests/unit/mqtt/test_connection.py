"""A connection reports its beginning and its end once each, with a reason that an operator can act on."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from edgerouter.errors import Throttled, Unauthorized, Unavailable
from edgerouter.mqtt import client
from edgerouter.mqtt.calls import ConnectFailed
from edgerouter.mqtt.connection import Connection, Credentials, Options
from edgerouter.mqtt.packets import PUBLISH, PacketReader
from edgerouter.mqtt.settings import BrokerSettings
from edgerouter.tasks.beat import until_beat
from support.mosquitto import free_port
from support.mqtt_packets import publish
from support.mqtt_source import eventually
from support.strict_broker import StrictBroker, strict_broker


class Owner:
    """Cuts what is read into packets, keeps the publishes, and records the rest of what happens."""

    def __init__(self) -> None:
        self.events: list[str] = []
        self.published: list[bytes] = []
        self.connection: Connection | None = None
        self.received = PacketReader(self.packet, largest=2**20).feed

    def packet(self, command: int, body: bytes) -> bool:
        assert self.connection is not None
        if command & 0xF0 == PUBLISH:
            self.published.append(body)
            return True
        return self.connection.handle(command, body)

    def accepted(self) -> None:
        assert not self.published
        self.events.append("accepted")

    def ended(self) -> None:
        self.events.append("ended")

    def written(self) -> None:
        pass

    def keep_alive_sent(self) -> None:
        pass


async def made(url: str, owner: Owner, **options: Any) -> Connection:
    """Make a connection that is not connected yet."""
    settings = BrokerSettings(url=url)
    contents: dict[str, Any] = {"client_id": "client", "version5": True, "clean": True} | options
    owner.connection = Connection(settings, Options(**contents), await Credentials.read(settings), owner)
    return owner.connection


@asynccontextmanager
async def connected(broker: StrictBroker, owner: Owner, **options: Any) -> AsyncIterator[Connection]:
    """Connect, and close at the end."""
    connection = await made(broker.url, owner, **options)
    await connection.connect()
    try:
        yield connection
    finally:
        connection.client.close("closed")


async def refused(broker: StrictBroker, owner: Owner) -> ConnectFailed:
    """Return the failure of a connect."""
    connection = await made(broker.url, owner)
    with pytest.raises(ConnectFailed) as failed:
        await connection.connect()
    return failed.value


async def test_the_owner_hears_of_the_acceptance_first_and_then_gets_what_is_read() -> None:
    owner = Owner()
    async with strict_broker() as broker:
        broker.session_present = True
        broker.connack_properties = b"\x21\x00\x07"  # receive maximum
        broker.greeting = publish("t", b"hello", properties=b"")
        async with connected(broker, owner, clean=False, session_expiry=60) as connection:
            await eventually(lambda: bool(owner.published))
            assert (connection.session_present, connection.abilities.receive_maximum) == (True, 7)
    assert owner.events[0] == "accepted"


async def test_a_small_packet_is_sent_although_the_one_before_is_not_acknowledged() -> None:
    """Nagle's algorithm keeps it back, and Linux may delay the acknowledgement of what gets no answer, QoS 0, by 40 ms."""
    async with strict_broker() as broker, connected(broker, Owner()) as connection:
        assert connection.client.tcp is not None
        assert connection.client.tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


@pytest.mark.parametrize(
    ("code", "kind"), [(0x86, Unauthorized), (0x87, Unauthorized), (0x8A, Unauthorized), (0x97, Throttled), (0x88, Unavailable)]
)
async def test_a_refusal_carries_the_brokers_code_and_its_kind_of_error(code: int, kind: type[Unavailable]) -> None:
    async with strict_broker() as broker:
        broker.admit = lambda _: code

        failure = await refused(broker, Owner())

    assert (failure.code, failure.unanswered, failure.version_refused) == (code, False, False)
    assert type(failure.error) is kind
    assert "refuses the connection" in str(failure)


async def test_a_broker_that_does_not_speak_the_version_is_recognised() -> None:
    async with strict_broker() as broker:
        broker.admit = lambda _: 0x84
        assert (await refused(broker, Owner())).version_refused


async def test_a_broker_that_hangs_up_instead_of_answering_is_reported_with_what_to_check() -> None:
    async with strict_broker() as broker:
        broker.admit = lambda _: None

        failure = await refused(broker, Owner())

    assert failure.unanswered
    assert "does it expect TLS or another port?" in str(failure)
    assert "hangs up without an answer" in str(failure.error)


async def test_a_port_where_none_listens_is_unavailable() -> None:
    port = free_port()
    connection = await made(f"mqtt://127.0.0.1:{port}", Owner())

    with pytest.raises(ConnectFailed) as failed:
        await connection.connect()

    assert type(failed.value.error) is Unavailable
    assert f"127.0.0.1:{port} cannot be reached" in str(failed.value.error)


async def test_the_end_is_reported_once_with_the_brokers_reason() -> None:
    owner = Owner()
    async with strict_broker() as broker, connected(broker, owner) as connection:
        client = await broker.client()
        client.send(b"\xe0\x02\x8b\x00")  # server shutting down
        reason, code = await asyncio.wait_for(connection.lost, 20)
        client.writer.transport.abort()
        await asyncio.wait_for(client.gone.wait(), 20)
    assert code == 0x8B
    assert "shutting down" in reason
    assert owner.events == ["accepted", "ended"]


async def test_a_connection_that_breaks_has_no_reason_code() -> None:
    owner = Owner()
    async with strict_broker() as broker, connected(broker, owner) as connection:
        (await broker.client()).writer.transport.abort()
        _, code = await asyncio.wait_for(connection.lost, 20)
    assert code is None
    assert owner.events == ["accepted", "ended"]


async def test_what_is_read_after_a_cut_is_ignored() -> None:
    owner = Owner()
    async with strict_broker() as broker, connected(broker, owner) as connection:
        connection.cut("it sends too much")
        client = await broker.client()
        client.send(publish("t", b"late", properties=b""))
        client.writer.close()
        await asyncio.wait_for(client.gone.wait(), 20)
        assert connection.lost.result() == ("it sends too much", None)
    assert owner.published == []
    assert owner.events == ["accepted", "ended"]


async def test_the_options_are_sent_as_properties_of_mqtt_5_and_left_out_of_3_1_1() -> None:
    wanted = {"session_expiry": 60, "receive_maximum": 7, "maximum_packet_size": 1000}
    async with strict_broker() as broker:
        for version5 in (True, False):
            async with connected(broker, Owner(), version5=version5, clean=False, **wanted):
                pass
    five, three = broker.attempts
    assert (five.version, five.clean, three.version, three.clean) == (5, False, 4, False)
    for each in (b"\x11\x00\x00\x00\x3c", b"\x21\x00\x07", b"\x27\x00\x00\x03\xe8"):
        assert each in five.properties
    assert three.properties == b""


async def test_a_password_is_read_anew_for_each_connection(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("old\n")
    settings = BrokerSettings(url="mqtt://me@broker", password_file=file)
    before = await Credentials.read(settings)
    file.write_text("new\n")
    assert (before.login.password, (await Credentials.read(settings)).login.password) == ("old", "new")


async def test_a_password_that_cannot_be_read_is_a_matter_of_access_and_names_its_file(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret")
    settings = BrokerSettings(url="mqtt://me@broker", password_file=file)
    file.unlink()

    with pytest.raises(ConnectFailed, match="No such file") as failed:
        await Credentials.read(settings)

    assert isinstance(failed.value.error, Unauthorized)
    assert str(file) in str(failed.value.error)


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Beat of each look at the link."""
    found: list[float] = []

    def until_look(every: float = 1.0) -> float:
        found.append(every)
        return until_beat(every)

    monkeypatch.setattr(client, "until_beat", until_look)
    return found


@pytest.mark.parametrize(("seconds", "beat"), [(0, 1.0), (1, 0.25), (2, 0.5), (60, 1.0)])
async def test_a_short_keep_alive_that_the_broker_asks_for_is_looked_at_often_enough(
    looks: list[float], seconds: int, beat: float
) -> None:
    """The broker hangs up after 1.5 times its keep-alive (MQTT 5.0, 3.1.2.10); a beat may come a quarter late."""
    async with strict_broker() as broker:
        broker.connack_properties = b"\x13" + seconds.to_bytes(2)
        connection = await made(broker.url, Owner())
        await connection.connect()
        known = len(looks)
        await eventually(lambda: len(looks) > known)
        assert looks[-1] == beat
        if seconds == 1:
            await eventually(lambda: broker.pings > 1)
        connection.client.close("closed")


async def test_an_answer_that_comes_late_behind_other_packets_is_waited_for_however_short_the_keep_alive_is(
    looks: list[float],
) -> None:
    async with strict_broker() as broker:
        broker.connack_properties, broker.pong = b"\x13\x00\x01", b""
        async with connected(broker, Owner()) as connection:
            await eventually(lambda: broker.pings == 1)
            asked = len(looks)
            await eventually(lambda: len(looks) >= asked + 8)  # two keep-alives
            assert connection.client.is_open
            broker.pong = b"\xd0\x00"
            broker.clients[0].send(broker.pong)
            await eventually(lambda: broker.pings > 2)


async def test_a_broker_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "PATIENCE", 0.0)
    owner = Owner()
    async with strict_broker() as broker:
        broker.connack_properties, broker.pong = b"\x13\x00\x01", b""
        async with connected(broker, owner) as connection:
            await eventually(lambda: not connection.client.is_open)
            assert broker.pings == 1
