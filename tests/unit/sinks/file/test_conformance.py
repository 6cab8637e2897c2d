"""The file sink keeps every promise of the conformance suite, in each of its forms.

Covers: edgerouter.sinks.file.growing, edgerouter.sinks.file.objects, edgerouter.sinks.file.sink.
"""

from __future__ import annotations

import gzip
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from edgerouter.sinks.file.sink import FileSink
from edgerouter.testing import Received, SinkConformance, SinkServer
from support.json_lines import received


class Folder(SinkServer):
    """A folder in the role of the service: its consumers read its files."""

    def __init__(self, path: Path) -> None:
        self.path = path

    async def received(self) -> Sequence[Received]:
        if not self.path.is_dir():
            return []
        files = sorted(path for path in self.path.rglob("*") if path.is_file() and not path.name.startswith("."))
        return [each for path in files for each in self.read(path)]

    def read(self, path: Path) -> list[Received]:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        return [received(line) for line in content.split(b"\n")[:-1]]

    async def stop(self) -> None:
        """Replace the folder by one on a disk that is not mounted."""
        shutil.rmtree(self.path, ignore_errors=True)
        self.path.symlink_to(self.path.parent / "not mounted" / "data")

    async def connections(self) -> int:
        """Return the number of open descriptors below the folder."""
        return sum(str(link.resolve()).startswith(str(self.path)) for link in Path("/proc/self/fd").iterdir())


class FileConformance(SinkConformance):
    sink_class = FileSink
    unsupported: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("max_bytes", "max_message_bytes"), "a file grows as long as the disk has space"),
        "secrets": "a folder needs none",
        **dict.fromkeys(
            ("requests", "fail", "throttle", "refuse", "reject", "fail_once", "stall", "lose_next_response", "cut_next", "heal"),
            "a file system answers no requests",
        ),
    }

    @pytest.fixture
    def server(self, tmp_path: Path) -> Folder:
        return Folder(tmp_path / "data")


class TestGrowingFile(FileConformance):
    @pytest.fixture
    def config(self, server: Folder) -> Mapping[str, Any]:
        return {"path": str(server.path)}


class TestGrowingFileOnce(FileConformance):
    effectively_once = True

    @pytest.fixture
    def config(self, server: Folder) -> Mapping[str, Any]:
        return {"path": str(server.path), "once": True, "rotate": {"size": "4KiB"}, "compression": "gzip"}


class TestObjects(FileConformance):
    effectively_once = True
    keeps_order = False  # each object stands alone

    @pytest.fixture
    def config(self, server: Folder) -> Mapping[str, Any]:
        return {"path": str(server.path), "key": "{topic}/{time:%Y/%m}/{id}.jsonl.gz"}


class Payloads(Folder):
    def read(self, path: Path) -> list[Received]:
        return [Received(path.read_bytes())]


class TestOneObjectPerMessage(FileConformance):
    effectively_once = True
    keeps_order = False

    @pytest.fixture
    def server(self, tmp_path: Path) -> Folder:
        return Payloads(tmp_path / "data")

    @pytest.fixture
    def config(self, server: Folder) -> Mapping[str, Any]:
        return {"path": str(server.path), "key": "{topic}/{id}", "framing": "payload"}
