"""The stdout sink: messages as lines on standard output."""

from __future__ import annotations

import errno
import os
import select
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Literal, Self

from edgerouter.errors import Unavailable
from edgerouter.message import Message
from edgerouter.objects import encode, size_of, sizes_of
from edgerouter.outcome import DELIVERED, Outcome
from edgerouter.sink import Sink, SinkConfig, SinkContext
from edgerouter.tasks.thread import Worker

_STDOUT = 1


class StdoutConfig(SinkConfig):
    """Writes messages to standard output, for a terminal or a pipe. Logs go to standard error and do not mix in."""

    framing: Literal["jsonl", "raw-lines", "length-prefixed"] = "jsonl"
    """`jsonl`: a JSON object per line with topic, time and payload. `raw-lines`: each payload and a newline. `length-prefixed`:
    each payload after its length as 4 bytes, big-endian."""


class StdoutSink(Sink[StdoutConfig]):
    """Writes to standard output in a thread, so that a slow pipe delays no other sink."""

    partitioned = False

    def __init__(self, config: StdoutConfig, worker: Worker) -> None:
        self._framing = config.framing
        self._worker = worker

    @classmethod
    @asynccontextmanager
    async def open(cls, config: StdoutConfig, context: SinkContext) -> AsyncIterator[Self]:
        worker = Worker(f"stdout sink {context.name}")
        try:
            yield cls(config, worker)
        finally:
            await worker.close(patience=0.5)  # a pipe without a reader must not delay the shutdown

    def size_of(self, message: Message) -> int:
        return size_of(message, self._framing)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return sizes_of(messages, self._framing)

    async def write(self, batch: Sequence[Message]) -> Outcome:
        await self._worker.run(lambda: _write(encode(batch, self._framing)))
        return DELIVERED


def _write(data: bytes) -> None:
    rest = memoryview(data)
    try:
        while rest:
            try:
                rest = rest[os.write(_STDOUT, rest) :]
            except BlockingIOError:  # another process that shares the pipe has made it non-blocking
                poll = select.poll()
                poll.register(_STDOUT, select.POLLOUT)
                poll.poll()
    except OSError as error:
        what = "its reader has closed it" if error.errno == errno.EPIPE else error.strerror or str(error)
        raise Unavailable(f"cannot write to standard output: {what}") from error
