"""edgerouter itself, from this checkout: with defaults, and with files that hold every message exactly once."""

from __future__ import annotations

import json
import sys
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

from benchmarks.peers.peer import TOPICS, Command, Destination, Peer, Work


class Edgerouter(Peer):
    """The subject of the comparison."""

    name = "edgerouter"
    acknowledges = "after fsync"
    destinations: ClassVar[tuple[Destination, ...]] = ("file", "http")
    once: ClassVar[bool] = False

    def install(self, tools: Path) -> str:  # noqa: ARG002  (runs from the checkout)
        return version("edgerouter")

    def command(self, work: Work) -> Command:
        source = {"type": "mqtt", "url": f"mqtt://127.0.0.1:{work.port}", "topics": [TOPICS], "qos": 1}
        file = {"type": "file", "path": str(work.file.parent), "rotate": {"size": "100GiB"}, "once": self.once}
        sink = file if work.url is None else {"type": "http", "url": work.url}
        config = {
            "sources": {"broker": source},
            "spool": {"path": str(work.folder / "spool")},
            "sinks": {"out": sink},
            "log": {"level": "warning"},
        }
        path = work.folder / "edgerouter.yaml"
        # JSON is YAML
        path.write_text(json.dumps(config, indent=2))
        return Command((str(Path(sys.executable).with_name("edgerouter")), "run", "-c", str(path)))


class EdgerouterOnce(Edgerouter):
    """With `once: true`, which costs a second sync per batch."""

    name = "edgerouter, once"
    destinations = ("file",)
    once = True
