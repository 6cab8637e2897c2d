"""A proxy in front of a real nats-server that makes it fail as the conformance suite of sinks asks for."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from typing import NamedTuple, Self

from edgerouter.testing import Received, SinkServer

UNAVAILABLE = {"code": 503, "err_code": 10008, "description": "JetStream system temporarily unavailable"}
FULL = {"code": 503, "err_code": 10077, "description": "maximum bytes exceeded"}
TOO_LARGE = {"code": 400, "err_code": 10054, "description": "message size exceeds maximum allowed"}


class Frame(NamedTuple):
    """One operation of the protocol."""

    verb: str
    words: list[str]
    data: bytes
    payload: bytes


async def frames(reader: asyncio.StreamReader) -> AsyncIterator[Frame]:
    """Yield the operations of one direction until the connection ends."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        while True:
            line = await reader.readuntil(b"\r\n")
            words = line.decode().split()
            verb = words[0].upper() if words else ""
            payload = b""
            if verb in {"PUB", "HPUB", "MSG", "HMSG"}:
                payload = await reader.readexactly(int(words[-1]) + 2)
            yield Frame(verb, words, line + payload, payload)


class NatsProxy(SinkServer):
    """Counts messages to subjects with a prefix, and makes them fail.

    Args:
        port: port of the real server.
        prefix: beginning of the subjects of messages.
        stored: returns what consumers have got.
    """

    def __init__(self, port: int, prefix: str, stored: Callable[[], Awaitable[Sequence[Received]]]) -> None:
        self._upstream = port
        self._prefix = prefix
        self._stored = stored
        self._requests = 0
        self._before = 0
        self._mode = ""
        self._marker = b""
        self._failed: set[bytes] = set()
        self._writers: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """URL of the proxy."""
        return f"nats://127.0.0.1:{self.port}"

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen inside the context."""
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=16 * 1024**2)
        self.port = self._server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            await self.stop()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_server, to_server = await asyncio.open_connection("127.0.0.1", self._upstream, limit=16 * 1024**2)
        self._writers.add(writer)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._from_client(reader, writer, to_server))
                tasks.create_task(self._from_server(from_server, writer, to_server))
        finally:
            self._writers.discard(writer)
            writer.close()
            to_server.close()

    async def _from_client(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        subscriptions: dict[str, str] = {}
        async for frame in frames(reader):
            if frame.verb == "CONNECT" and self._mode == "refuse":
                client.write(b"-ERR 'Authorization Violation'\r\n")
                break
            if frame.verb == "SUB":
                subscriptions[frame.words[1]] = frame.words[-1]
            if frame.verb in {"PUB", "HPUB"} and frame.words[1].startswith(self._prefix):
                self._requests += 1
                if self._mode == "cut":
                    self._mode = ""
                    break
                if (answer := self._instead(frame, subscriptions)) is not None:
                    client.write(answer)
                    continue
            server.write(frame.data)
        client.close()
        server.close()

    async def _from_server(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        async for frame in frames(reader):
            answers = frame.verb in {"MSG", "HMSG", "PONG"}
            if answers and self._mode == "stall" and self._requests:
                continue
            if answers and self._mode == "lose" and self._requests > self._before:
                self._mode = ""
                break
            client.write(frame.data)
        client.close()
        server.close()

    def _instead(self, frame: Frame, subscriptions: Mapping[str, str]) -> bytes | None:
        """Return what to answer in place of passing the message on."""
        address = frame.words[2]
        reply = f"{address} {subscriptions.get(address.rsplit('.', 2)[0] + '.*.*', '')}"
        if self._mode == "refuse":
            return f"-ERR 'Permissions Violation for Publish to \"{frame.words[1]}\"'\r\n".encode()
        if self._mode == "fail":
            return answer(reply, UNAVAILABLE)
        if self._mode == "throttle":
            return answer(reply, FULL)
        if self._mode == "reject" and self._marker in frame.payload:
            return answer(reply, TOO_LARGE)
        if self._mode == "fail_once" and self._marker in frame.payload and frame.payload not in self._failed:
            self._failed.add(frame.payload)
            return answer(reply, UNAVAILABLE)
        return None

    async def received(self) -> Sequence[Received]:
        return await self._stored()

    async def requests(self) -> int:
        return self._requests

    async def connections(self) -> int:
        return len(self._writers)

    async def fail(self) -> None:
        self._mode = "fail"

    async def throttle(self, seconds: float) -> None:
        self._mode = "throttle"

    async def refuse(self) -> None:
        self._mode = "refuse"

    async def reject(self, marker: bytes) -> None:
        self._mode, self._marker = "reject", marker

    async def fail_once(self, marker: bytes) -> None:
        self._mode, self._marker = "fail_once", marker

    async def stall(self) -> None:
        self._mode = "stall"

    async def lose_next_response(self) -> None:
        self._mode, self._before = "lose", self._requests

    async def cut_next(self) -> None:
        self._mode = "cut"

    async def heal(self) -> None:
        self._mode = ""

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        for writer in self._writers:
            writer.close()


def answer(reply: str, error: dict[str, object]) -> bytes:
    """Return what a stream answers to a message that it does not take, for an address with the number of its subscription."""
    body = json.dumps({"error": error}).encode()
    return f"MSG {reply} {len(body)}\r\n".encode() + body + b"\r\n"
