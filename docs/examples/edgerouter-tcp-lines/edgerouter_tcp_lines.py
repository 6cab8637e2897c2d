"""Source `tcp-lines`: each line that comes over TCP is a message, and is answered with `ok` once it is safe."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Self

from pydantic import Field

from edgerouter import ByteSize, Delivery, Message, Source, SourceConfig, SourceContext, Unavailable
from edgerouter.receiving import Inbox


class TcpLinesConfig(SourceConfig):
    """Lines of text over TCP."""

    host: str = "127.0.0.1"
    """Address to listen on."""
    port: int = Field(ge=1, le=65535)
    """Port to listen on."""
    topic: str
    """Topic of all messages."""
    max_unacknowledged_bytes: ByteSize = Field(default=8 * 1024**2, ge=1)
    """Bytes of lines held that are not stored yet. At this bound the source stops reading, and TCP holds the senders back."""


class TcpLinesSource(Source[TcpLinesConfig]):
    """Gathers lines in an inbox, which has a bound in bytes."""

    def __init__(self, config: TcpLinesConfig, context: SourceContext) -> None:
        self._topic = config.topic
        self._inbox: Inbox[asyncio.StreamWriter] = Inbox(
            10_000, config.max_unacknowledged_bytes, acknowledged=_answer, flush_now=context.flush_now
        )
        self._reading: set[asyncio.Task[None]] = set()

    @classmethod
    @asynccontextmanager
    async def open(cls, config: TcpLinesConfig, context: SourceContext) -> AsyncIterator[Self]:
        source = cls(config, context)
        if context.probe:
            # `check --connect` must not take the port away from a router that runs
            context.connected(True, "")
            yield source
            return
        try:
            server = await asyncio.start_server(source._accept, config.host, config.port)
        except OSError as error:
            raise Unavailable(f"cannot listen on {config.host}:{config.port}: {error.strerror}") from error
        context.connected(True, "")
        try:
            yield source
        finally:
            server.close()
            for task in source._reading:
                task.cancel()
            await asyncio.gather(*source._reading, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(self._read(reader, writer), name="read lines of a sender")
        self._reading.add(task)
        task.add_done_callback(self._reading.discard)

    async def _read(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                if self._inbox.stopped:
                    continue  # not stored, so not answered: the sender sends it again
                await self._inbox.reserve(1)
                self._inbox.put([Message(self._topic, line.rstrip(b"\r\n"), time.time_ns(), qos=1)], [writer])
                self._inbox.release(1)
        except (OSError, ValueError):
            pass  # a line that is too long, or a connection that breaks, ends this sender only
        finally:
            writer.close()

    def deliveries(self) -> AsyncIterator[Delivery]:
        return self._inbox.deliveries()

    def stop(self) -> None:
        self._inbox.stop()


def _answer(writers: Sequence[asyncio.StreamWriter]) -> None:
    for writer in writers:
        if not writer.is_closing():
            writer.write(b"ok\n")
