"""Secret stores and sinks whose contents and failures a test chooses, as a distribution that declares variables."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from edgerouter import Unauthorized, Unavailable, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.last_known import LastKnown
from edgerouter.config.model import RouterConfig
from edgerouter.config.references import resolve
from support.distributions import install, on_path

CODE = """
from contextlib import asynccontextmanager
from edgerouter import DELIVERED, SecretMissing, SecretStore, SecretStoreConfig, Sink, SinkConfig, Variable, Variables
from pydantic import SecretStr


class VaultConfig(SecretStoreConfig):
    name: str = "first"
    '''Which one.'''


class Vault(SecretStore[VaultConfig]):
    contents = {}
    faults = {}
    asked = []

    def __init__(self, name):
        self.name = name

    @classmethod
    @asynccontextmanager
    async def open(cls, config, context):
        yield cls(config.name)

    async def get(self, name):
        self.asked.append((self.name, name))
        fault = self.faults.get(self.name)
        if fault is not None:
            await fault(name)
        if name not in self.contents.get(self.name, {}):
            raise SecretMissing(f"no {name}")
        return self.contents[self.name][name]


class QueueConfig(SinkConfig):
    queue: str
    '''Its name.'''
    token: SecretStr
    '''A secret.'''
    group: str = "none"
    '''Not needed.'''


class Queue(Sink[QueueConfig]):

    @classmethod
    @asynccontextmanager
    async def open(cls, config, context):
        yield cls()

    async def write(self, batch):
        return DELIVERED


class Other(Queue):
    pass


def shout(text):
    if text == "bad":
        raise ValueError("should not be bad")
    return text.upper()


VARIABLES = (
    Variables("sink", "queue", (
        Variable(("QUEUE_NAME", "OLD_QUEUE"), "queue", convert=shout),
        Variable(("QUEUE_TOKEN",), "token", secret=True, shared=("ANY_TOKEN",)),
        Variable(("QUEUE_GROUP",), "group", required=False),
    )),
    Variables("sink", "other", (Variable(("OTHER_NAME",), "queue"), Variable(("OTHER_TOKEN",), "token", shared=("ANY_TOKEN",)))),
    Variables("secret_store", "first", (Variable(("FIRST_STORE",), "name"),)),
    Variables("secret_store", "second", (Variable(("SECOND_STORE",), "name"),)),
)
"""


POINTS = {
    "edgerouter.sinks": {"queue": "{module}:Queue", "other": "{module}:Other"},
    "edgerouter.secret_stores": {"first": "{module}:Vault", "second": "{module}:Vault"},
    "edgerouter.variables": {"fakes": "{module}:VARIABLES"},
}


BOTH = {"FIRST_STORE": "first", "SECOND_STORE": "second"}


ONE = {"FIRST_STORE": "first"}


@contextmanager
def vaults(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Install them, so that they alone declare variables, and yield the class of the stores."""
    site = folder / "site"
    site.mkdir()
    install(site, "fakes", "fakes_module", CODE, POINTS)
    declared = plugins.variables
    with on_path(site):
        mine = [each for each in declared() if each.type in ("queue", "other", "first", "second")]
        monkeypatch.setattr(plugins, "variables", lambda: mine)
        yield plugins.find("secret_store", "first")


async def down(name: str) -> None:
    raise Unavailable("connection refused")


async def refuses(name: str) -> None:
    raise Unauthorized("403")


async def silent(name: str) -> None:
    await asyncio.Event().wait()


async def decided(environ: dict[str, str], last_known: LastKnown | None = None) -> tuple[RouterConfig, str]:
    """The configuration after the stores were asked once."""
    cloud = CloudBlock(environ)
    cloud.load(plugins)
    reason = await cloud.ask(last_known or LastKnown())
    return cloud.load(plugins), reason


async def opened(config: RouterConfig, last_known: LastKnown | None = None) -> list[tuple[str, str]]:
    """Return the fields that each sink is opened with."""
    found = []
    for sink in config.sinks:
        resolved: Any = await resolve(sink, config.secret_stores, last_known)
        found.append((resolved.queue, resolved.token.get_secret_value()))
    return found
