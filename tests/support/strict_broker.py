"""A scripted broker for rare behaviour of real ones: it answers as configured, and records clients' violations of MQTT."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

from support.mqtt_packets import Connect, packet, parse_connect, parse_varint, read_packet, varint


@dataclass(frozen=True)
class Published:
    """One PUBLISH of a client."""

    topic: str
    payload: bytes
    qos: int
    identifier: int
    again: bool
    retain: bool
    properties: bytes = b""
    """Those of MQTT 5, without a topic alias."""


@dataclass
class Client:
    """One connection."""

    writer: asyncio.StreamWriter
    connect: Connect
    answers: list[tuple[int, int]] = field(default_factory=list)
    """Command and packet id of each PUBACK, PUBREC, PUBREL and PUBCOMP."""
    aliases: dict[int, str] = field(default_factory=dict)
    """Topic by alias."""
    gone: asyncio.Event = field(default_factory=asyncio.Event)

    def send(self, data: bytes) -> None:
        """Send raw bytes."""
        self.writer.write(data)

    async def settled(self) -> None:
        """Wait until every PUBREC of the client was followed by its PUBCOMP."""
        while {each for kind, each in self.answers if kind == 0x50} - {each for kind, each in self.answers if kind == 0x70}:
            await asyncio.sleep(0.005)


class StrictBroker:
    """Created by `strict_broker`; every answer can be replaced."""

    def __init__(self) -> None:
        self.port = 0
        self.attempts: list[Connect] = []
        """Every CONNECT, including refused ones."""
        self.clients: list[Client] = []
        self.published: list[Published] = []
        self.subscribe_ids: list[int] = []
        self.pings = 0
        self.pong = b"\xd0\x00"
        """Answer to a PINGREQ."""
        self.subscribed: list[list[tuple[str, int]]] = []
        self.unsubscribed: list[str] = []
        self.goodbyes: list[bytes] = []
        """Body of each DISCONNECT."""
        self.faults: list[str] = []
        """Violations of MQTT by clients."""
        self.connack_properties = b""
        self.greeting = b""
        """Sent after each CONNACK."""
        self.session_present = False
        self.admit: Callable[[Connect], int | None] = lambda _: 0
        """Code of the CONNACK; `None` disconnects without an answer."""
        self.subscribe_codes: Callable[[Sequence[tuple[str, int]]], Sequence[int]] = lambda filters: [qos for _, qos in filters]
        self.puback: Callable[[Client, Published], bytes | None] = acknowledge
        """Answer to a PUBLISH of QoS 1 or 2."""
        self.acknowledged: Callable[[Client], None] = lambda _: None
        """Called for each PUBACK and PUBCOMP, which open the window of a client."""
        self.pubcomp: Callable[[Client, int], bytes | None] = lambda _, identifier: packet(0x70, struct.pack("!H", identifier))

    @property
    def url(self) -> str:
        """URL of the broker."""
        return f"mqtt://127.0.0.1:{self.port}"

    async def client(self, number: int = 0, patience: float = 20) -> Client:
        """Wait for a client that was accepted and has subscribed or published, or at least connected."""
        async with asyncio.timeout(patience):
            while len(self.clients) <= number:
                await asyncio.sleep(0.005)
        return self.clients[number]

    async def take(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        client: Client | None = None
        try:
            with suppress(OSError, asyncio.IncompleteReadError):
                command, body = await read_packet(reader)
                if command != 0x10:
                    self.faults.append(f"0x{command:02x} comes first")
                    return
                connect = parse_connect(body)
                self.attempts.append(connect)
                code = self.admit(connect)
                if code is None:
                    return
                five = connect.version == 5
                present = self.session_present and not connect.clean and code == 0
                writer.write(
                    packet(
                        0x20,
                        bytes([present, code]) + (varint(len(self.connack_properties)) + self.connack_properties if five else b""),
                    )
                )
                await writer.drain()
                if code:
                    return
                client = Client(writer, connect)
                self.clients.append(client)
                client.send(self.greeting)
                while True:
                    command, body = await read_packet(reader)
                    if command == 0xE0:
                        self.goodbyes.append(body)
                        return
                    self._serve(client, command, body, five=five)
                    await writer.drain()
        finally:
            if client is not None:
                client.gone.set()
            writer.close()

    def _serve(self, client: Client, command: int, body: bytes, *, five: bool) -> None:
        kind = command & 0xF0
        if kind == 0x30:
            self._publish(client, command, body, five=five)
        elif kind in (0x40, 0x50, 0x60, 0x70):
            identifier = int.from_bytes(body[:2])
            client.answers.append((kind, identifier))
            if kind in (0x40, 0x70):
                self.acknowledged(client)
            if kind == 0x60:
                if command != 0x62:
                    self.faults.append("a PUBREL without its flags")
                client.send(self.pubcomp(client, identifier) or b"")
            elif kind == 0x50:
                client.send(packet(0x62, body[:2]))
        elif command == 0x82:
            at = 2 + (body[2] + 1 if five else 0)
            filters = []
            while at < len(body):
                end = at + 2 + int.from_bytes(body[at : at + 2])
                filters.append((body[at + 2 : end].decode(), body[end] & 3))
                at = end + 1
            self.subscribed.append(filters)
            self.subscribe_ids.append(int.from_bytes(body[:2]))
            client.send(packet(0x90, body[:2] + (b"\x00" if five else b"") + bytes(self.subscribe_codes(filters))))
        elif command == 0xA2:
            at = 2 + (body[2] + 1 if five else 0)
            count = 0
            while at < len(body):
                end = at + 2 + int.from_bytes(body[at : at + 2])
                self.unsubscribed.append(body[at + 2 : end].decode())
                at = end
                count += 1
            client.send(packet(0xB0, body[:2] + (b"\x00" + bytes(count) if five else b"")))
        elif command == 0xC0:
            self.pings += 1
            client.send(self.pong)
        else:
            self.faults.append(f"an unexpected packet 0x{command:02x}")

    def _resolve(self, client: Client, topic: str, properties: bytes) -> str:
        """Return the topic that an alias stands for; the alias is taken where it comes first."""
        if properties[:1] != b"\x23":
            return topic
        alias = int.from_bytes(properties[1:3])
        if topic:
            client.aliases[alias] = topic
        elif alias not in client.aliases:
            self.faults.append(f"the alias {alias} stands for no topic")
        return topic or client.aliases.get(alias, "")

    def _publish(self, client: Client, command: int, body: bytes, *, five: bool) -> None:
        end = 2 + int.from_bytes(body[:2])
        qos = command >> 1 & 3
        identifier = int.from_bytes(body[end : end + 2]) if qos else 0
        topic, at, properties = body[2:end].decode(), end + (2 if qos else 0), b""
        if five:
            length, at = parse_varint(body, at)
            properties = body[at : at + length]
            topic = self._resolve(client, topic, properties)
            properties = properties[3:] if properties[:1] == b"\x23" else properties
            at += length
        if qos and not identifier:
            self.faults.append("a publish of QoS 1 or 2 with the packet id 0")
        published = Published(topic, body[at:], qos, identifier, bool(command & 8), bool(command & 1), properties)
        self.published.append(published)
        if qos:
            client.send(self.puback(client, published) or b"")


def acknowledge(_: Client, published: Published, code: int = 0) -> bytes:
    """Acknowledge a publish, with a reason code where it is not 0."""
    command = 0x40 if published.qos == 1 else 0x50
    return packet(command, struct.pack("!H", published.identifier) + (bytes([code, 0]) if code else b""))


@asynccontextmanager
async def strict_broker() -> AsyncIterator[StrictBroker]:
    """Start a broker on a free port."""
    broker = StrictBroker()
    server = await asyncio.start_server(broker.take, "127.0.0.1", 0, limit=2**20)
    broker.port = server.sockets[0].getsockname()[1]
    try:
        yield broker
    finally:
        server.close()
        for client in broker.clients:
            client.writer.transport.abort()
