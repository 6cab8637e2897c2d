"""Opens a sink without a router."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any, TypeVar

from edgerouter import Sink
from edgerouter.testing import make_context

SinkT = TypeVar("SinkT", bound=Sink[Any])


@asynccontextmanager
async def opened(
    plugin: type[SinkT], fields: Mapping[str, Any], *, name: str = "archive", seconds: float = 30.0, probe: bool = False
) -> AsyncIterator[SinkT]:
    """Open a sink with these fields of its configuration; `seconds` is the timeout of a write."""
    context = replace(make_context(name), timeout=seconds, probe=probe)
    async with plugin.open(plugin.Config.model_validate(fields), context) as sink:
        yield sink
