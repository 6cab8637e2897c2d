"""A proxy before a real nats-server that holds back what a router publishes, loses answers, and answers as a late replica does.

What it holds reaches the server after the router's end, as what a killed process has left in the buffers of a network does.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Self

from support.nats.proxy import Frame, frames

PUBLISHES = frozenset({"PUB", "HPUB"})
NOTHING_YET = b"NATS/1.0 404 No Messages\r\n\r\n"


class HoldingProxy:
    """Pass everything on except what a test holds back.

    Args:
        port: port of the real server.
    """

    def __init__(self, port: int) -> None:
        self._upstream = port
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: list[asyncio.StreamWriter] = []
        self._held: list[tuple[asyncio.StreamWriter, Frame]] = []
        self._holds = ""
        self._pass = 0
        self._deaf_to = ""
        self._unheard: set[str] = set()
        self._answered: dict[str, asyncio.Event] = {}
        self._late_for = ""
        self._late = 0
        self.lost = 0
        """Answers that did not reach the router."""
        self.port = 0

    @property
    def url(self) -> str:
        """URL of the proxy."""
        return f"nats://127.0.0.1:{self.port}"

    @property
    def held(self) -> int:
        """Messages that it holds."""
        return len(self._held)

    @property
    def late(self) -> int:
        """Reads that it will still answer as a replica that has nothing yet."""
        return self._late

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Self]:
        """Listen inside the context."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, limit=16 * 1024**2)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for task in self._tasks:
                task.cancel()
            await asyncio.wait(self._tasks)
            for writer in self._writers:
                writer.close()
            await asyncio.gather(*(writer.wait_closed() for writer in self._writers), return_exceptions=True)

    def hold(self, subject: str, *, after: int = 0) -> None:
        """Hold what is published to a subject, but for the next messages."""
        self._holds, self._pass = subject, after

    def lose_answers(self, subject: str) -> None:
        """Lose the answers to what is published to a subject."""
        self._deaf_to = subject

    def be_late(self, subject: str, times: int) -> None:
        """Answer reads so many times as a replica that has nothing yet."""
        self._late_for, self._late = subject, times

    def let_new_pass(self) -> None:
        """Keep what is held, and pass on everything that comes from now on, with its answers."""
        self._holds = self._deaf_to = ""

    async def release(self) -> None:
        """Give the server what was held; return when it has answered what asks for an answer."""
        held, self._held, self._holds = self._held, [], ""
        answered = [self._answered.setdefault(frame.words[2], asyncio.Event()) for _, frame in held if asks(frame)]
        for server, frame in held:
            server.write(frame.data)
        for event in answered:
            await event.wait()

    async def cut(self) -> None:
        """Lose what is held with the connections that it came by, and hold nothing more."""
        self._held, self._holds = [], ""
        for writer in self._writers:
            writer.close()

    async def _serve(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        from_server, server = await asyncio.open_connection("127.0.0.1", self._upstream, limit=16 * 1024**2)
        self._writers += [client, server]
        for pump in (self._from_client(reader, client, server), self._from_server(from_server, client)):
            self._tasks.add(asyncio.get_running_loop().create_task(pump, name="holding-proxy"))

    async def _from_client(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter, server: asyncio.StreamWriter) -> None:
        """Pass on; the server's side stays open after the router's end."""
        numbers: dict[str, str] = {}
        async for frame in frames(reader):
            if frame.verb == "SUB":
                numbers[frame.words[1]] = frame.words[-1]
            if frame.verb in PUBLISHES and self._late and frame.words[1].endswith(self._late_for):
                self._late -= 1
                address = frame.words[2]
                number = numbers[address.rsplit(".", 1)[0] + ".*"]
                head = f"HMSG {address} {number} {len(NOTHING_YET)} {len(NOTHING_YET)}\r\n"
                client.write(head.encode() + NOTHING_YET + b"\r\n")
                continue
            if frame.verb in PUBLISHES and frame.words[1] == self._holds:
                if not self._pass:
                    self._held.append((server, frame))
                    continue
                self._pass -= 1
            if asks(frame) and frame.words[1] == self._deaf_to:
                self._unheard.add(frame.words[2])
            server.write(frame.data)

    async def _from_server(self, reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        async for frame in frames(reader):
            if frame.verb in {"MSG", "HMSG"}:
                if frame.words[1] in self._answered:
                    self._answered[frame.words[1]].set()
                if frame.words[1] in self._unheard:
                    self.lost += 1
                    continue
            client.write(frame.data)
        client.close()


def asks(frame: Frame) -> bool:
    """Return True for a message that asks for an answer."""
    return frame.verb in PUBLISHES and len(frame.words) == (5 if frame.verb == "HPUB" else 4)
