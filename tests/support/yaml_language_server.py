"""The YAML language server that VS Code and other editors use, queried like an editor does."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

_PROGRAM = Path(__file__).parents[2] / ".tools" / "yaml-language-server"


class Editor:
    """Queries one server about texts that `schema` describes.

    Args:
        process: process of the server.
        schema: file with the schema.
    """

    def __init__(self, process: subprocess.Popen[bytes], schema: Path) -> None:
        self._process = process
        self._schema = schema
        self._last = 0
        self._documents = 0
        self._ask("initialize", {"processId": None, "rootUri": None, "capabilities": {"workspace": {"configuration": True}}})
        self._notify("initialized", {})

    def completions(self, text: str) -> dict[str, Any]:
        """Return the server's completions at the `|` of a text, by label."""
        before, _, behind = text.partition("|")
        uri, _ = self._open(before + behind)
        line, character = before.count("\n"), len(before.rpartition("\n")[2])
        found = self._ask(
            "textDocument/completion", {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}}
        )
        items = found if isinstance(found, list) else found["items"]
        return {item["label"]: item for item in items}

    def hover(self, text: str) -> str:
        """Return the server's hover text for the word behind the `|` of a text."""
        before, _, behind = text.partition("|")
        uri, _ = self._open(before + behind)
        line, character = before.count("\n"), len(before.rpartition("\n")[2])
        found = self._ask("textDocument/hover", {"textDocument": {"uri": uri}, "position": {"line": line, "character": character}})
        return json.dumps(found)

    def problems(self, text: str) -> list[str]:
        """Return the errors that the server marks."""
        return self._open(text)[1]

    def _open(self, text: str) -> tuple[str, list[str]]:
        """Open a document and wait until the server has read the schema and checked it; return the errors, too."""
        self._documents += 1
        uri = f"file:///documents/{self._documents}/edgerouter.yaml"
        item = {"uri": uri, "languageId": "yaml", "version": 1, "text": text}
        self._notify("textDocument/didOpen", {"textDocument": item})
        while True:
            message = self._receive()
            if message.get("method") == "textDocument/publishDiagnostics" and message["params"]["uri"] == uri:
                return uri, [each["message"] for each in message["params"]["diagnostics"]]

    def _ask(self, method: str, params: dict[str, Any]) -> Any:
        self._last += 1
        self._send({"id": self._last, "method": method, "params": params})
        while True:
            message = self._receive()
            if message.get("id") == self._last and "method" not in message:
                assert "error" not in message, message
                return message["result"]

    def _notify(self, method: str, params: dict[str, Any]) -> None:
        self._send({"method": method, "params": params})

    def _settings(self, section: str) -> Any:
        yaml = {"schemas": {self._schema.as_uri(): "edgerouter.yaml"}, "validate": True, "completion": True, "hover": True}
        return {**yaml, "schemaStore": {"enable": False}} if section == "yaml" else {}

    def _send(self, message: dict[str, Any]) -> None:
        data = json.dumps({"jsonrpc": "2.0", **message}).encode()
        assert self._process.stdin is not None
        self._process.stdin.write(b"Content-Length: %d\r\n\r\n%b" % (len(data), data))
        self._process.stdin.flush()

    def _receive(self) -> dict[str, Any]:
        """Return the next message; requests of the server are answered meanwhile."""
        assert self._process.stdout is not None
        while True:
            length = 0
            while (line := self._process.stdout.readline()) != b"\r\n":
                assert line, "the language server ended"
                name, _, value = line.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            message: dict[str, Any] = json.loads(self._process.stdout.read(length))
            if "method" not in message or "id" not in message:
                return message
            result = None
            if message["method"] == "workspace/configuration":
                result = [self._settings(item.get("section", "")) for item in message["params"]["items"]]
            self._send({"id": message["id"], "result": result})


@contextmanager
def editor(schema: Path) -> Iterator[Editor]:
    """Start a server; skip the test if it is not installed."""
    if not _PROGRAM.exists():
        pytest.skip("the YAML language server is not installed; install it with: .ci/install-yaml-language-server")
    with subprocess.Popen([_PROGRAM, "--stdio"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        try:
            yield Editor(process, schema)
        finally:
            process.kill()
