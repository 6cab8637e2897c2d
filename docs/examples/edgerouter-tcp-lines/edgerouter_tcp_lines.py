"""Source `tcp-lines`: each line that comes over TCP is a message, and is answered with `ok` once it is safe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import Self

from edgerouter import Delivery, Message, Source, SourceConfig, SourceContext, Unavailable

Line = tuple[bytes, asyncio.StreamWriter]


class TcpLinesConfig(SourceConfig):
    """Lines of text over TCP."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int
    """Port to listen on."""
    topic: str
    """Topic of all messages."""


class TcpLinesSource(Source[TcpLinesConfig]):
    """Bounded by its queue: while it is full, the source stops reading, and TCP holds the senders back."""

    def __init__(self, config: TcpLinesConfig) -> None:
        self._topic = config.topic
        self._lines: asyncio.Queue[Line | None] = asyncio.Queue(1000)
        self._writers: set[asyncio.StreamWriter] = set()
        self._stopping = False

    @classmethod
    @asynccontextmanager
    async def open(cls, config: TcpLinesConfig, context: SourceContext) -> AsyncIterator[Self]:
        source = cls(config)
        if context.probe:
            # `check --connect` must not take the port away from a router that runs
            context.connected(True, "")
            yield source
            return
        try:
            server = await asyncio.start_server(source._read, config.host, config.port)
        except OSError as error:
            raise Unavailable(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from error
        context.connected(True, "")
        try:
            yield source
        finally:
            server.close()
            for writer in source._writers:
                writer.close()

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writers.add(writer)
        # a line that is too long, or a connection that breaks, ends this sender only
        with suppress(ConnectionError, ValueError):
            while not self._stopping and (line := await reader.readline()):
                await self._lines.put((line.rstrip(b"\r\n"), writer))
        self._writers.discard(writer)
        if not self._stopping:
            writer.close()

    async def deliveries(self) -> AsyncIterator[Delivery]:
        while not (self._stopping and self._lines.empty()):
            gathered = [await self._lines.get()]
            while not self._lines.empty():
                gathered.append(self._lines.get_nowait())
            lines = [line for line in gathered if line is not None]
            if lines:
                messages = [Message(self._topic, line, time.time_ns(), qos=1) for line, _ in lines]
                yield Delivery(messages, partial(_answer, lines))

    def stop(self) -> None:
        self._stopping = True
        # wakes `deliveries` if it waits; if there is no room it does not wait
        with suppress(asyncio.QueueFull):
            self._lines.put_nowait(None)


def _answer(lines: Sequence[Line]) -> None:
    for _, writer in lines:
        if not writer.is_closing():
            writer.write(b"ok\n")
