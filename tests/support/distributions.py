"""Distributions with plugins, as pip would have installed them, in a folder on `sys.path`."""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

PLUGINS = '''
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import BaseModel, ConfigDict, SecretStr, field_validator

from edgerouter import (DELIVERED, ByteSize, Duration, Sink, SinkConfig, Unavailable, Source, SourceConfig, Unavailable,
                        SecretStore, SecretStoreConfig)


class QueueConfig(SinkConfig):
    """A queue that takes everything."""

    queue: str
    """Name of the queue."""
    region: str = "home"
    """Where it is."""
    port: int = 1
    """Its port."""
    qos: Literal[0, 1, 2] = 0
    """Its quality."""
    secure: bool = False
    """Whether it is encrypted."""
    size: ByteSize = 10
    """A size."""
    wait: Duration = 1
    """A time."""
    password: SecretStr | None = None
    """A secret."""
    token: str = ""
    """A text that is checked."""

    @field_validator("token")
    @classmethod
    def _token(cls, value):
        if value.startswith("bad"):
            raise ValueError(f"not a token: {value}")
        return value


class QueueSink(Sink[QueueConfig]):

    @classmethod
    @asynccontextmanager
    async def open(cls, config, context):
        if config.queue == "down":
            raise Unavailable("no answer")
        if config.queue == "leaky":
            raise RuntimeError(f"refused {config.password.get_secret_value()}")
        if config.queue == "slow":
            import asyncio
            await asyncio.Event().wait()
        yield cls()

    async def write(self, batch):
        return DELIVERED


class FeedConfig(SourceConfig):
    """A feed of nothing."""

    url: str = "feed://here"
    """Where it is."""
    password: SecretStr | None = None
    """A secret."""


class FeedSource(Source[FeedConfig]):

    def __init__(self, config, context):
        self.config, self.context = config, context

    @classmethod
    @asynccontextmanager
    async def open(cls, config, context):
        assert context.probe
        yield cls(config, context)

    async def deliveries(self):
        import asyncio
        if self.config.url == "feed://gone":
            raise Unavailable("refused")
        if self.config.url == "feed://down":
            self.context.connected(False, "connection refused")
        else:
            self.context.connected(True, "")
        await asyncio.Event().wait()
        yield


class VaultConfig(SecretStoreConfig):
    """A store."""

    prefix: str = ""
    """Stands in front of every secret."""


class Vault(SecretStore[VaultConfig]):
    secrets = {}

    def __init__(self, config):
        self.config = config

    @classmethod
    @asynccontextmanager
    async def open(cls, config, context):
        yield cls(config)

    async def get(self, name):
        if name not in self.secrets:
            raise Unavailable(f"no secret {name!r}")
        return self.config.prefix + self.secrets[name]


class SafeConfig(SecretStoreConfig):
    """A store that needs a field."""

    address: str
    """Where it is."""


class Safe(Vault, SecretStore[SafeConfig]):
    pass
'''

ENTRY_POINTS = {
    "edgerouter.sinks": {"queue": "{module}:QueueSink"},
    "edgerouter.sources": {"feed": "{module}:FeedSource"},
    "edgerouter.secret_stores": {"vault": "{module}:Vault", "safe": "{module}:Safe"},
}


def install(
    folder: Path, distribution: str, module: str, code: str, entry_points: Mapping[str, Mapping[str, str]], *, version: str = "1.0"
) -> None:
    """Write one distribution of one module into a folder."""
    (folder / f"{module}.py").write_text(textwrap.dedent(code))
    info = folder / f"{distribution.replace('-', '_')}-{version}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
    lines = []
    for group, points in entry_points.items():
        lines += [f"[{group}]", *(f"{name} = {target.format(module=module)}" for name, target in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))


@contextmanager
def on_path(folder: Path) -> Iterator[Path]:
    """Import from a folder for a while."""
    before = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - before:
            if str(getattr(sys.modules[name], "__file__", None) or "").startswith(str(folder)):
                del sys.modules[name]


@contextmanager
def installed_plugins(folder: Path) -> Iterator[Path]:
    """The plugins above: sink `queue`, source `feed`, stores `vault` and `safe`."""
    install(folder, "test-plugins", "test_plugins_module", PLUGINS, ENTRY_POINTS)
    with on_path(folder):
        yield folder
