"""Steps of all sinks: they share decoded documents, and keep their states in the folder of a durable spool."""

from __future__ import annotations

from edgerouter.config.digest import digest
from edgerouter.config.model import ConfiguredSink, SpoolSection
from edgerouter.pipeline.shaping.chain import Chain
from edgerouter.pipeline.shaping.documents import Documents
from edgerouter.pipeline.shaping.state import FileState
from edgerouter.step import StepState
from edgerouter.templates import Names


class SinkSteps:
    """Makes the chain of each sink.

    Args:
        spool: the router's.
    """

    def __init__(self, spool: SpoolSection) -> None:
        self._documents = Documents()
        self._folder = spool.path / "steps" if spool.type != "memory" else None

    def chain(self, configured: ConfiguredSink, names: Names) -> Chain | None:
        """Return the steps of a sink, if it has any."""
        if not configured.steps:
            return None
        folder = None if self._folder is None else self._folder / configured.name

        def state(step: str) -> StepState:
            return StepState() if folder is None else FileState(folder / step)

        return Chain(configured.steps, names, self._documents, state=state)


def shape_of(configured: ConfiguredSink) -> str:
    """Return a text that changes with the steps of a sink, empty without any: the shape of its `SinkContext`."""
    entries = configured.policies.steps
    return digest("steps", *entries, files=[step.config.contents for step in configured.steps])[:8] if entries else ""
