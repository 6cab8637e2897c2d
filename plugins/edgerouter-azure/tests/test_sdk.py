"""The SDK is imported beside the event loop."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

HUB = "Endpoint=sb://127.0.0.1:9/;SharedAccessKeyName=send;SharedAccessKey=geheim;EntityPath=readings"
OPENED = {
    ("sink", "azure-blob"): {
        "account": "plantstore",
        "account_key": "Z2VoZWlt",
        "container": "readings",
        "endpoint": "http://127.0.0.1:9",
    },
    ("sink", "azure-event-hubs"): {"connection_string": HUB, "endpoint": "127.0.0.1:9"},
    ("source", "azure-event-hubs"): {"connection_string": HUB, "endpoint": "127.0.0.1:9", "topic": "t"},
    ("secret_store", "azure-keyvault"): {"vault": "plant"},
}
PROGRAM = """
import asyncio, json, sys, threading
from contextlib import suppress
from edgerouter import SecretStoreContext, SinkContext, SourceContext, Unavailable, plugins

kind, name, fields = json.loads(sys.argv[1])
plugin = plugins.find(kind, name)
config = plugin.Config(**fields)
context = {
    "sink": (SinkContext("k", "h", "s"),),
    "source": (SourceContext("k", "h", "s", lambda: None, lambda *_: None, lambda *_: None),),
    "secret_store": (SecretStoreContext("k"),),
}[kind]
loop_thread = threading.get_ident()
held, beside = set(), set()

def imported(event, arguments):
    if event == "import":
        (held if threading.get_ident() == loop_thread else beside).add(arguments[0])

async def main():
    sys.addaudithook(imported)
    with suppress(Unavailable):
        async with plugin.open(config, *context):
            pass
    print(json.dumps([sorted(held), sorted(beside)]))

asyncio.run(main())
"""


@pytest.mark.parametrize(("kind", "name"), OPENED, ids=str)
def test_opening_imports_the_sdk_in_a_thread(kind: str, name: str) -> None:
    """300 ms of imports in the event loop would stop every sink and source."""
    fields = OPENED[kind, name]
    said = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps([kind, name, fields])], capture_output=True, text=True, timeout=100, check=True
    ).stdout
    held, beside = json.loads(said)
    assert [module for module in held if module.startswith(("azure.", "msal", "edgerouter_azure."))] == []
    assert any(module.startswith("azure.") for module in beside)
