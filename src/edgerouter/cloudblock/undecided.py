"""Stand-in for a sink while no secret store can say whether it is wanted, so that its messages wait for it in the spool.

A reload replaces it once the stores have answered. It cannot be left out until then: a sink that starts later would miss what came
before. Nor can the sink itself take its place: opening it would load the SDK of every sink that a distribution declares.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final, NoReturn, Self

from pydantic import ConfigDict

from edgerouter.errors import Unavailable
from edgerouter.sink import Sink, SinkConfig, SinkContext

UNDECIDED: Final = "(undecided)"
"""Its type in the tree; no plugin can have this name."""
_REASON: Final = "not known yet whether this sink is on: the secret stores do not say whether they have its settings"


class UndecidedConfig(SinkConfig):
    """Ignores the fields of the sink that it stands for; that sink's own plugin checks them."""

    model_config = ConfigDict(extra="ignore")


class UndecidedSink(Sink[UndecidedConfig]):
    """Never opens; a reload puts the sink itself in its place, or none."""

    @classmethod
    @asynccontextmanager
    async def open(cls, config: UndecidedConfig, context: SinkContext) -> AsyncIterator[Self]:  # noqa: ARG003  (the contract's)
        raise Unavailable(_REASON)
        yield cls()

    async def write(self, batch: object) -> NoReturn:  # noqa: ARG002  (the contract's)
        raise Unavailable(_REASON)
