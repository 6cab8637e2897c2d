"""Spools on a JetStream stream, opened as a router does, without its configuration."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

from edgerouter.config.model import RetainPolicy
from edgerouter.spool.contract import Rejection
from edgerouter.spool.operator import SpoolTools
from edgerouter_nats.connection import connecting
from edgerouter_nats.settings import NatsSettings
from edgerouter_nats.spool.api import Api
from edgerouter_nats.spool.engine import running
from edgerouter_nats.spool.link import Link
from edgerouter_nats.spool.spool import JetStreamSpool


@dataclass(frozen=True)
class Options:
    """Settings of the spool, with defaults that make tests quick."""

    stream: str = "SPOOL"
    replicas: int = 1
    max_bytes: int = 64 * 1024**2
    on_full: Literal["block", "drop_oldest", "drop_newest"] = "block"
    retain: RetainPolicy = field(default_factory=RetainPolicy)
    commit_interval: float = 0.0
    cache_bytes: int = 16 * 1024**2


class Letters:
    """Dead letters in memory."""

    def __init__(self) -> None:
        self.kept: list[tuple[str, Rejection]] = []

    async def store(self, ledger: str, rejections: Sequence[Rejection]) -> None:
        """Keep them."""
        self.kept += [(ledger, rejection) for rejection in rejections]


@asynccontextmanager
async def opened(
    servers: Sequence[str], stream: str, router: str = "one", *, letters: Letters | None = None, patience: float = 2.0, **more: Any
) -> AsyncIterator[JetStreamSpool]:
    """Open the spool of a stream as the router of this name."""
    options = Options(stream=stream, **more)
    async with connecting(NatsSettings.model_validate({"servers": servers}), router, echo=False) as connector:
        api = Api(Link(connector, patience))
        async with running(api, options, router, letters or Letters()) as engine:
            yield JetStreamSpool(engine, options, lambda _: cast("SpoolTools", None))
