"""Tracing of writes: a sampled call becomes a span, and the others cost one question."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from typing import Any

from edgerouter.config.model import ConfiguredSink
from edgerouter.message import Message
from edgerouter.outcome import Outcome
from edgerouter.telemetry.spans import Spans, Write


class Tracing:
    """Calls of one sink's `write`.

    Args:
        configured: the sink.
        spans: gets the sampled calls; `None` = nothing is traced.
    """

    def __init__(self, configured: ConfiguredSink, spans: Spans | None) -> None:
        self._sink, self._type = configured.name, configured.type
        self._spans = spans

    async def call(self, messages: list[Message], size: int, write: Callable[[], Awaitable[Any]]) -> Any:
        """Return or raise as the call does."""
        spans = self._spans
        if spans is None or not spans.sampled():
            return await write()
        began, since, error = time.time_ns(), time.monotonic(), ""
        try:
            outcome = await write()
            if isinstance(outcome, Outcome) and outcome.failed:
                error = type(outcome.failed[0].error).__name__
        except BaseException as raised:
            error = type(raised).__name__
            raise
        finally:
            spans.wrote(Write(self._sink, self._type, messages, size, began, time.monotonic() - since, error))
        return outcome
