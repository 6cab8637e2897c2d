"""Node-RED: one flow from an MQTT node to a file node, or to an HTTP request node."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from benchmarks.peers.install import npm, program
from benchmarks.peers.peer import CLIENT_ID, TOPICS, Command, Peer, Work, version_of

NODE_RED = "4.1.8"


class NodeRed(Peer):
    """Node-RED from npm."""

    name = "Node-RED"
    acknowledges = "on receipt"
    destinations = ("file", "http")

    def __init__(self) -> None:
        self._package = Path()

    def install(self, tools: Path) -> str:
        self._package = npm(tools, "node-red", NODE_RED)
        return f"{NODE_RED}, Node.js {version_of(program('node'), '--version')}"

    def command(self, work: Work) -> Command:
        flows, settings = work.folder / "flows.json", work.folder / "settings.js"
        flows.write_text(json.dumps(_flow(work), indent=2))
        options: dict[str, Any] = {"flowFile": str(flows), "userDir": str(work.folder), "telemetry": {"enabled": False}}
        # no editor, no admin interface
        options |= {"uiPort": 0, "uiHost": "127.0.0.1", "httpAdminRoot": False, "httpNodeRoot": False}
        options |= {"logging": {"console": {"level": "error"}}}
        settings.write_text(f"module.exports = {json.dumps(options)};\n")
        return Command((program("node"), str(self._package / "red.js"), "--settings", str(settings)))


def _flow(work: Work) -> list[dict[str, Any]]:
    broker = {"id": "broker", "type": "mqtt-broker", "broker": "127.0.0.1", "port": str(work.port), "protocolVersion": "4"}
    session = {"clientid": CLIENT_ID, "cleansession": False, "keepalive": "60", "autoConnect": True, "usetls": False}
    source = {"id": "in", "type": "mqtt in", "z": "flow", "topic": TOPICS, "qos": "1", "datatype": "utf8", "broker": "broker"}
    sink = {"id": "out", "z": "flow", "wires": [[]]} | (_file(str(work.file)) if work.url is None else _request(work.url))
    return [{"id": "flow", "type": "tab", "label": "flow"}, broker | session, source | {"wires": [["out"]]}, sink]


def _file(path: str) -> dict[str, Any]:
    node = {"type": "file", "filename": path, "filenameType": "str", "encoding": "utf8"}
    return node | {"appendNewline": True, "createDir": False, "overwriteFile": "false"}


def _request(url: str) -> dict[str, Any]:
    return {"type": "http request", "method": "POST", "url": url, "ret": "txt", "paytoqs": "ignore", "tls": "", "persist": True}
