"""The stdout sink keeps every promise of the conformance suite that a stream of bytes can be asked for.

Covers: edgerouter.sinks.stdout.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerouter import Sink
from edgerouter.sinks.stdout import StdoutSink
from edgerouter.testing import Received, SinkConformance, SinkServer

STDOUT = 1


class Stream(SinkServer):
    """Standard output, gone into a file for the time of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()
        self.stopped = False

    async def received(self) -> Sequence[Received]:
        data, found = self.path.read_bytes(), []
        while data:
            length = int.from_bytes(data[:4], "big")
            found.append(Received(data[4 : 4 + length]))
            data = data[4 + length :]
        return found

    async def stop(self) -> None:
        """Close the reading end of the pipe."""
        self.stopped = True

    @contextmanager
    def standing_in(self) -> Iterator[None]:
        """Standard output goes here until the context is left."""
        kept = os.dup(STDOUT)
        if self.stopped:
            reading, writing = os.pipe()
            os.close(reading)
        else:
            writing = os.open(self.path, os.O_WRONLY | os.O_APPEND)
        os.dup2(writing, STDOUT)
        os.close(writing)
        try:
            yield
        finally:
            os.dup2(kept, STDOUT)
            os.close(kept)


class TestStdout(SinkConformance):
    sink_class = StdoutSink
    unsupported: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("max_bytes", "max_message_bytes"), "a stream takes any size"),
        "secrets": "a stream needs none",
        **dict.fromkeys(
            [
                *("requests", "connections", "fail", "throttle", "refuse", "reject", "fail_once", "stall"),
                *("lose_next_response", "cut_next", "heal"),
            ],
            "a stream answers no requests",
        ),
    }

    @pytest.fixture
    def server(self, tmp_path: Path) -> Stream:
        return Stream(tmp_path / "stdout")

    @pytest.fixture
    def config(self, server: Stream) -> Mapping[str, Any]:
        self.stream = server
        return {"framing": "length-prefixed"}

    @asynccontextmanager
    async def opened(self, config: Mapping[str, Any]) -> AsyncIterator[Sink[Any]]:
        """The stream stands in only while the sink is open: pytest has its own way with standard output in between."""
        with self.stream.standing_in():
            async with super().opened(config) as sink:
                yield sink
