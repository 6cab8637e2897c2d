"""Process of the load generator: MQTT 3.1.1 publishes over a raw socket, from prepared packets; standard library only.

Started by `support.load`, with the plan as JSON in the first line of standard input. Message `i` (0, 1, 2 ...) goes to topic
`i % topics` with the running number `i // topics + 1`. Standard output: JSON lines, progress and finally the report. It ends by
itself when the plan is done, or gracefully when its standard input closes.
"""

from __future__ import annotations

import json
import os
import random
import select
import socket
import sys
import time
from typing import Any

BURST = 256
"""Most packets built before the socket is read again."""
PROGRESS_EVERY = 0.05
RECONNECT_AFTER = 0.05
PACKET_IDS = 65535


def packet(kind: int, body: bytes) -> bytes:
    """Build an MQTT control packet."""
    length, remaining = bytearray(), len(body)
    while True:
        remaining, digit = divmod(remaining, 128)
        length.append(digit | (128 if remaining else 0))
        if not remaining:
            return bytes((kind,)) + bytes(length) + body


def text(value: str) -> bytes:
    """Build an MQTT string: two bytes of length, then UTF-8."""
    encoded = value.encode()
    return len(encoded).to_bytes(2, "big") + encoded


class Ranges:
    """A set of message indexes, kept as `[first, last]` ranges."""

    def __init__(self) -> None:
        self.ranges: list[list[int]] = []
        self.count = 0

    def add(self, index: int) -> None:
        """Extend the last range, which fits almost always; otherwise start a new one, to be joined for the report."""
        self.count += 1
        if self.ranges and self.ranges[-1][1] + 1 == index:
            self.ranges[-1][1] = index
        else:
            self.ranges.append([index, index])

    def joined(self) -> list[list[int]]:
        """Return the ranges, sorted, with neighbours merged."""
        result: list[list[int]] = []
        for first, last in sorted(self.ranges):
            if result and result[-1][1] + 1 == first:
                result[-1][1] = last
            else:
                result.append([first, last])
        return result


class Publisher:
    """Publishes a plan and records the messages that the broker has acknowledged."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.qos: int = plan["qos"]
        self.topics: list[str] = plan["topics"]
        self.limit: int = plan["messages"] or sys.maxsize
        self.sent = 0
        self.acknowledged = Ranges()
        self.unknown = Ranges()
        self.in_flight: dict[int, int] = {}
        """Message index by packet id."""
        self.received = b""
        self.connections = 0
        self.finished_ping = False
        # {"n":<number>,"t":<nanoseconds>,"x":"..."}: numbers of fixed width, so that all packets of a topic have one length
        filler: int = plan["payload_bytes"] - len(b'{"n":,"t":,"x":""}') - 10 - 19
        self.template = b'{"n":%10d,"t":%19d,"x":"%b"}'
        if filler < 0:
            # too small for the numbers: filler alone
            filler, self.template = plan["payload_bytes"], b"%.0a%.0a%b"
        # random characters compress no better than sensor readings, and do not repeat within one compressed block
        characters = plan["characters"].encode()
        table = bytes(characters[value % len(characters)] for value in range(256))
        self.filler = random.Random(1).randbytes(max(1 << 20, 4 * filler)).translate(table)
        self.filler_bytes = filler
        size = plan["payload_bytes"] + (2 if self.qos else 0)
        self.heads = [packet(0x32 if self.qos else 0x30, text(topic) + bytes(size))[: -size or None] for topic in self.topics]

    def connect(self) -> socket.socket:
        """Open a connection that the broker has accepted.

        Raises:
            OSError: no broker there, or it refuses the connection.
        """
        connection = socket.create_connection((self.plan["host"], self.plan["port"]), timeout=5)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # rumqttd refuses a client without keep-alive; ten minutes are longer than any test pauses
        connection.sendall(packet(0x10, text("MQTT") + b"\x04\x02\x02\x58" + text(f"{self.plan['client_id']}-{self.connections}")))
        answer = b""
        while len(answer) < 4:
            piece = connection.recv(4 - len(answer))
            if not piece:
                raise ConnectionError("closed before CONNACK")
            answer += piece
        if answer[3] != 0:
            raise ConnectionError(f"refused with CONNACK {answer[3]}")
        connection.setblocking(False)
        self.connections += 1
        self.received = b""
        return connection

    def burst(self, count: int) -> bytes:
        """Return the next `count` packets; fewer if a packet id is still in use."""
        pieces: list[bytes] = []
        topics, heads, in_flight = len(self.topics), self.heads, self.in_flight
        size, template = self.filler_bytes, self.template
        last = len(self.filler) - size
        now = time.time_ns()
        for index in range(self.sent, self.sent + count):
            if self.qos:
                identifier = index % PACKET_IDS + 1
                if identifier in in_flight:
                    break
                in_flight[identifier] = index
                pieces.append(heads[index % topics] + identifier.to_bytes(2, "big"))
            else:
                pieces.append(heads[index % topics])
            at = index * size % last
            pieces.append(template % (index // topics + 1, now, self.filler[at : at + size]))
            self.sent = index + 1
        return b"".join(pieces)

    def take(self, data: bytes) -> None:
        """Parse the broker's packets: PUBACK and PINGRESP, both of known length."""
        data = self.received + data
        at = 0
        while len(data) - at >= 2:
            size = 2 + data[at + 1]
            if len(data) - at < size:
                break
            if data[at] == 0x40:
                index = self.in_flight.pop(int.from_bytes(data[at + 2 : at + 4], "big"), None)
                if index is not None:
                    self.acknowledged.add(index)
            elif data[at] == 0xD0:
                self.finished_ping = True
            at += size
        self.received = data[at:]

    def lost(self) -> None:
        """Give up the messages in flight: the broker may have them or not; they are not sent again."""
        for index in self.in_flight.values():
            self.unknown.add(index)
        self.in_flight.clear()

    def report(self, pace: Pace) -> dict[str, Any]:
        """Return the messages sent and their outcome."""
        return {
            "sent": self.sent,
            "acknowledged": self.acknowledged.joined(),
            "unknown": self.unknown.joined(),
            "connections": self.connections,
            "started_at": pace.started_at,
            "seconds": time.perf_counter() - pace.started,
        }


class Pace:
    """Limits the messages that may be sent now."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.rate: float | None = plan["rate"]
        self.started = time.perf_counter()
        self.started_at = time.time()
        self.ends = self.started + plan["seconds"] if plan["seconds"] else None
        self.stopped = False
        self.shown = 0.0

    def over(self) -> bool:
        """True once the plan's time has passed, or the parent has closed the input."""
        if not self.stopped and select.select([0], [], [], 0)[0] and not os.read(0, 4096):
            self.stopped = True
        return self.stopped or (self.ends is not None and time.perf_counter() >= self.ends)

    def due(self, sent: int) -> int:
        """Return the number of messages that the rate allows now."""
        if self.rate is None:
            return BURST
        return min(BURST, int((time.perf_counter() - self.started) * self.rate) - sent)

    def show(self, publisher: Publisher, connected: bool) -> None:
        """Report progress to the parent, a few times a second."""
        now = time.perf_counter()
        if now - self.shown >= PROGRESS_EVERY:
            self.shown = now
            progress = {"sent": publisher.sent, "acknowledged": publisher.acknowledged.count, "connected": connected}
            print(json.dumps(progress), flush=True)


def next_burst(publisher: Publisher, pace: Pace) -> bytes:
    """Return the packets that rate, window and plan allow to send now."""
    room = min(pace.due(publisher.sent), publisher.limit - publisher.sent)
    if publisher.qos:
        room = min(room, publisher.plan["window"] - len(publisher.in_flight))
    return publisher.burst(room) if room > 0 else b""


def exchange(publisher: Publisher, connection: socket.socket, out: memoryview, wait: float) -> memoryview:
    """Write and read without blocking, or wait a little; return the data still to be written.

    Raises:
        OSError: the connection is lost.
    """
    readable, writable, _ = select.select([connection], [connection] if out else [], [], wait)
    if writable:
        out = out[connection.send(out) :]
    if readable:
        data = connection.recv(1 << 18)
        if not data:
            raise ConnectionError("closed by the broker")
        publisher.take(data)
    return out


def publish(publisher: Publisher, pace: Pace, connection: socket.socket) -> None:
    """Publish until the plan is done.

    Raises:
        OSError: the connection is lost.
    """
    out = memoryview(b"")
    wait = 0.0005 if pace.rate else 0.05
    while publisher.sent < publisher.limit and not pace.over():
        pace.show(publisher, connected=True)
        out = exchange(publisher, connection, out or memoryview(next_burst(publisher, pace)), wait)
    if not publisher.qos:
        # the broker reads in order: the answer to a ping proves that it has read everything before
        out = memoryview(bytes(out) + b"\xc0\x00")
    ends = time.perf_counter() + publisher.plan["drain_seconds"]
    while time.perf_counter() < ends and (publisher.in_flight if publisher.qos else not publisher.finished_ping):
        pace.show(publisher, connected=True)
        out = exchange(publisher, connection, out, 0.05)


def main() -> None:
    """Run the plan through every loss of the connection, then report."""
    plan = json.loads(sys.stdin.buffer.readline())
    publisher, pace = Publisher(plan), Pace(plan)
    while not pace.over() and publisher.sent < publisher.limit:
        try:
            connection = publisher.connect()
        except OSError:
            pace.show(publisher, connected=False)
            time.sleep(RECONNECT_AFTER)
            continue
        try:
            with connection:
                publish(publisher, pace, connection)
                connection.sendall(b"\xe0\x00")
        except OSError:
            pace.show(publisher, connected=False)
        publisher.lost()
    print(json.dumps({"report": publisher.report(pace)}), flush=True)


if __name__ == "__main__":
    main()
