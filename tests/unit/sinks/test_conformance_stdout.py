"""The stdout sink keeps every promise of the conformance suite that a stream of bytes can be asked for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerouter.sinks.stdout import StdoutSink
from edgerouter.testing import Received, SinkConformance, SinkServer

STDOUT = 1


class Stream(SinkServer):
    """Standard output, gone into a file for the time of a test."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def received(self) -> Sequence[Received]:
        data, found = self.path.read_bytes(), []
        while data:
            length = int.from_bytes(data[:4], "big")
            found.append(Received(data[4 : 4 + length]))
            data = data[4 + length :]
        return found

    async def stop(self) -> None:
        """Nobody reads the pipe any more."""
        reading, writing = os.pipe()
        os.close(reading)
        os.dup2(writing, STDOUT)
        os.close(writing)


class TestStdout(SinkConformance):
    sink_class = StdoutSink
    unsupported: ClassVar[Mapping[str, str]] = dict.fromkeys(
        [
            *("requests", "connections", "fail", "throttle", "refuse", "reject", "fail_once", "stall"),
            *("lose_next_response", "cut_next", "heal"),
        ],
        "a stream answers no requests",
    )

    @pytest.fixture
    def server(self, tmp_path: Path) -> Iterator[Stream]:
        kept = os.dup(STDOUT)
        stream = Stream(tmp_path / "stdout")
        with stream.path.open("wb") as file:
            os.dup2(file.fileno(), STDOUT)
        try:
            yield stream
        finally:
            os.dup2(kept, STDOUT)
            os.close(kept)

    @pytest.fixture
    def config(self, server: Stream) -> Mapping[str, Any]:
        return {"framing": "length-prefixed"}
