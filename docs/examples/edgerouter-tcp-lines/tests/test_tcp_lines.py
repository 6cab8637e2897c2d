"""The source keeps every promise of the conformance suite, with a sender over TCP that counts its answers."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytest
from edgerouter_tcp_lines import TcpLinesSource

from edgerouter.testing import SourceConformance


class Sender:
    """Sends lines over one connection, and reads an answer for each."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.answers = 0

    async def send(self, lines: Sequence[bytes]) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            for line in lines:
                writer.write(line + b"\n")
                await writer.drain()
            for _ in lines:
                assert await reader.readline() == b"ok\n"
                self.answers += 1
        finally:
            writer.close()


class TestTcpLines(SourceConformance):
    source_class = TcpLinesSource
    tight: ClassVar[Mapping[str, Any]] = {"max_unacknowledged_bytes": "64KiB"}

    @pytest.fixture
    def sender(self) -> Sender:
        with socket.create_server(("127.0.0.1", 0)) as free:
            return Sender(free.getsockname()[1])

    @pytest.fixture
    def config(self, sender: Sender) -> Mapping[str, Any]:
        return {"port": sender.port, "topic": "plant/log"}

    @pytest.fixture
    def send(self, sender: Sender) -> Any:
        return sender.send

    @pytest.fixture
    def acknowledged(self, sender: Sender) -> Any:
        return lambda: sender.answers
