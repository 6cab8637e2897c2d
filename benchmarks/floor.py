"""Floor of the comparison: the least that a durable walk needs, in one thread, with no bounds, no errors and no recovery.

Reads MQTT 5 at QoS 1, stores what has come every 20 ms as one compressed chunk, syncs it, acknowledges it, and appends JSON Lines.

Usage: `python benchmarks/floor.py PORT FILE`.
"""

from __future__ import annotations

import os
import select
import socket
import sys
import time

import msgspec
import zstandard

INTERVAL = 0.02


def packet(kind: int, body: bytes) -> bytes:
    """Build a packet shorter than 128 bytes."""
    return bytes((kind, len(body))) + body


def parse(data: bytes, messages: list[tuple[str, bytes, int]], acks: bytearray) -> int:
    """Append every whole publish and its acknowledgement; return where the first incomplete packet begins."""
    at, end, now = 0, len(data), time.time_ns()
    while end - at >= 2:
        length, start = data[at + 1], at + 2
        if length > 127:
            if end - at < 3:
                break
            length, start = (length & 127) | data[at + 2] << 7, at + 3
        if start + length > end:
            break
        if data[at] & 0xF0 == 0x30:
            here = start + 2 + (data[start] << 8 | data[start + 1])
            # the topic, the packet id, and no properties
            messages.append((data[start + 2 : here].decode(), data[here + 3 : start + length], now))
            acks += b"\x40\x02" + data[here : here + 2]
        at = start + length
    return at


def lines(messages: list[tuple[str, bytes, int]], first: int) -> bytes:
    """Frame messages as the file sink does."""
    line = b'{"id":"floor-%d","topic":"%b","time":%d,"qos":1,"retained":false,"payload":%b}\n'
    return b"".join([line % (number, topic.encode(), now, payload) for number, (topic, payload, now) in enumerate(messages, first)])


def run(port: int, path: str) -> None:
    """Receive for ever."""
    encode, compress = msgspec.msgpack.Encoder().encode, zstandard.ZstdCompressor(level=1).compress
    out, log = (os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600) for name in (path, path + ".chunks"))
    broker = socket.create_connection(("127.0.0.1", port))
    broker.sendall(packet(0x10, b"\x00\x04MQTT\x05\x00\x00\x00\x05\x11\xff\xff\xff\xff\x00\x05floor"))
    broker.sendall(packet(0x82, b"\x00\x01\x00\x00\x09sensors/#\x01"))
    broker.setblocking(False)
    messages: list[tuple[str, bytes, int]] = []
    held, acks, first, due = b"", bytearray(), 1, 0.0
    while True:
        select.select([broker], [], [])
        if (early := due - time.monotonic()) > 0:
            time.sleep(early)
        due = time.monotonic() + INTERVAL
        try:
            while data := broker.recv(1 << 20):
                held += data
                held = held[parse(held, messages, acks) :]
        except BlockingIOError:
            pass
        if messages:
            os.write(log, compress(encode(messages)))
            os.fdatasync(log)
            broker.setblocking(True)
            broker.sendall(acks)
            broker.setblocking(False)
            os.write(out, lines(messages, first))
            first += len(messages)
            messages, acks = [], bytearray()


if __name__ == "__main__":
    run(int(sys.argv[1]), sys.argv[2])
