"""Stands for a sink as long as no secret store can say whether it is wanted, so that its messages wait for it in the spool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import NoReturn, Self

from edgerouter.errors import Unavailable
from edgerouter.sink import Sink, SinkConfig, SinkContext

_REASON = "not known yet whether this sink is on: the secret stores do not say whether they have its settings"


class UndecidedConfig(SinkConfig):
    """Nothing."""


class UndecidedSink(Sink[UndecidedConfig]):
    """Cannot be opened; the router takes the sink itself, or none, when it is known."""

    Config = UndecidedConfig

    @classmethod
    @asynccontextmanager
    async def open(cls, config: UndecidedConfig, context: SinkContext) -> AsyncIterator[Self]:  # noqa: ARG003  (the contract's)
        raise Unavailable(_REASON)
        yield cls()

    async def write(self, batch: object) -> NoReturn:  # noqa: ARG002  (the contract's)
        raise Unavailable(_REASON)
