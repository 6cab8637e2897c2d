"""The file sink: one growing file that rotates, or one object per batch, under one folder."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Hashable, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Protocol, Self

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.folder import folder_fault
from edgerouter.message import Message
from edgerouter.objects import KeyTemplate, size_of, sizes_of
from edgerouter.outcome import Outcome
from edgerouter.sink import Sink, SinkContext
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.disk import open_regular, unavailable
from edgerouter.sinks.file.growing import GrowingFile, idle_time
from edgerouter.sinks.file.objects import ObjectWriter
from edgerouter.sinks.file.rotation import RotatedFiles
from edgerouter.tasks.thread import Worker


class _Writer(Protocol):
    """Blocking calls behind a file sink; all of them run in one thread."""

    def write(self, batch: Sequence[Message]) -> Outcome: ...

    def close(self) -> None: ...


class FileSink(Sink[FileConfig]):
    """Writes files: one that grows, or objects."""

    def __init__(self, config: FileConfig, context: SinkContext, worker: Worker, writer: _Writer) -> None:
        self._framing = config.framing
        # a growing file recognises a batch that it has written before, and an object of many messages is written under the same key
        self._stable = config.once if config.key is None else config.framing != "payload"
        self._context = context
        self._worker = worker
        self._writer = writer
        self._template = None if config.key is None else KeyTemplate.parse(config.key)

    @classmethod
    @asynccontextmanager
    async def open(cls, config: FileConfig, context: SinkContext) -> AsyncIterator[Self]:
        if context.probe:
            worker = Worker(f"file sink {context.name}")
            try:
                await worker.run(lambda: _look(config))
                yield cls(config, context, worker, _Unwritten())
            finally:
                await worker.close()
            return
        opened = _open_growing(config, context) if config.key is None else _open_objects(config, context)
        async with opened as (worker, writer):
            yield cls(config, context, worker, writer)

    @property
    def stable_batches(self) -> bool:
        return self._stable

    @property
    def partitioned(self) -> bool:
        return self._template is not None

    def size_of(self, message: Message) -> int:
        return size_of(message, self._framing)

    def sizes_of(self, messages: Sequence[Message]) -> list[int]:
        return sizes_of(messages, self._framing)

    def partition_of(self, message: Message) -> Hashable:
        return None if self._template is None else self._template.partition_of(message, self._context)

    async def write(self, batch: Sequence[Message]) -> Outcome:
        return await self._worker.run(lambda: self._writer.write(batch))


@asynccontextmanager
async def _open_objects(config: FileConfig, context: SinkContext) -> AsyncIterator[tuple[Worker, _Writer]]:
    writers: list[ObjectWriter] = []
    worker = Worker(f"file sink {context.name}")
    try:
        await worker.run(lambda: writers.append(ObjectWriter(config, context)))
        yield worker, writers[0]
    finally:
        await worker.close(lambda: _close(writers))


@asynccontextmanager
async def _open_growing(config: FileConfig, context: SinkContext) -> AsyncIterator[tuple[Worker, _Writer]]:
    writers: list[GrowingFile] = []
    rotated_files = RotatedFiles(config.path, config.file, config.compression or "none", config.keep, config.mode)
    worker = Worker(f"file sink {context.name}", lambda: _tend(writers), idle_time(config))
    tidier = Worker(f"file sink {context.name}: rotated files")
    try:
        await worker.run(
            lambda: writers.append(
                GrowingFile(
                    config,
                    rotated_files,
                    abandoned=worker.abandoned,
                    rotated=lambda: tidier.submit(rotated_files.tidy_in_background),
                )
            )
        )
        tidier.submit(rotated_files.tidy_in_background)
        yield worker, writers[0]
    finally:
        rotated_files.stop()
        try:
            await worker.close(lambda: _close(writers))
        finally:
            await tidier.close()


def _tend(writers: Sequence[GrowingFile]) -> None:
    for writer in writers:
        writer.tend()


def _close(writers: Sequence[_Writer]) -> None:
    for writer in writers:
        writer.close()


def _look(config: FileConfig) -> None:
    """Check the folder, and the growing file if it exists. Takes no lock and leaves nothing behind.

    Raises:
        Unavailable: it could not be written.
    """
    fault = folder_fault(config.path)
    if fault is not None:
        raise (Unauthorized if fault.lasting else Unavailable)(fault.reason)
    if config.key is not None:
        return
    try:
        folder = os.open(config.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # the sink creates it when it opens
    try:
        for name in (config.file, f".{config.file}.lock"):
            with suppress(FileNotFoundError):
                os.close(open_regular(name, os.O_RDWR, 0, folder))
    except OSError as error:
        raise unavailable(error, "open", config.path / config.file) from error
    finally:
        os.close(folder)


class _Unwritten:
    """Stands in for the files of a sink that was opened to probe."""

    def write(self, batch: Sequence[Message]) -> Outcome:  # noqa: ARG002  (nothing is written)
        raise Unavailable("the sink was opened only to probe")

    def close(self) -> None:
        """Do nothing: no file is open."""
