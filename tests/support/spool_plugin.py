"""A distribution with a spool of its own type, which keeps everything in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from support.distributions import install, on_path

CODE = '''
from contextlib import asynccontextmanager
from typing import Literal

from pydantic import Field, SecretStr

from edgerouter.config.model import SpoolConfig, SpoolSection
from edgerouter.masking.models import KeepsItsSecrets
from edgerouter.spool.folder import locked_folder
from edgerouter.spool.memory.spool import open_memory
from edgerouter.spool.plugin import SpoolPlugin


class RemoteConfig(SpoolSection, KeepsItsSecrets):
    """A log on another machine."""

    type: Literal["remote"] = "remote"
    """The plugin."""
    server: str
    """Address of the log."""
    password: SecretStr | None = None
    """Password for it."""


class RemoteSpool(SpoolPlugin):
    Config = RemoteConfig
    opened = []

    @classmethod
    @asynccontextmanager
    async def open(cls, config, context):
        cls.opened.append((config.server, context.host, context.command))
        with locked_folder(config.path):
            async with open_memory(SpoolConfig(type="memory", path=config.path)) as spool:
                yield spool
'''


@contextmanager
def remote_spool(folder: Path) -> Iterator[Path]:
    """Install the distribution for a while; yields the folder."""
    install(folder, "test-spool", "test_spool_module", CODE, {"edgerouter.spools": {"remote": "{module}:RemoteSpool"}})
    with on_path(folder):
        yield folder
