"""The steps of a sink keep their state where the spool is durable."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal

import pytest

from edgerouter import Item, Step, StepConfig, StepContext
from edgerouter.config.model import ConfiguredStep, SpoolConfig
from edgerouter.pipeline.shaping.chain import StepNames
from edgerouter.pipeline.shaping.sink_steps import SinkSteps
from support.pipeline import configured, scripted


class CountingStep(Step[StepConfig]):
    """A step that counts how often it was made."""

    stateful = True

    def __init__(self, config: StepConfig, context: StepContext) -> None:
        super().__init__(config, context)
        context.state.save(context.state.content + b"x")

    def apply(self, items: list[Item]) -> list[Item]:
        return items


@pytest.mark.parametrize(("kind", "kept"), [("sqlite", b"xx"), ("memory", b"x")])
def test_a_state_is_kept_over_restarts_with_a_durable_spool(kind: Literal["sqlite", "memory"], kept: bytes, tmp_path: Path) -> None:
    step = ConfiguredStep(plugin=CountingStep, type="counting", config=StepConfig())
    sink = replace(configured(scripted()), steps=(step,))
    for _ in range(2):
        chain = SinkSteps(SpoolConfig(type=kind, path=tmp_path)).chain(sink, StepNames("out", "box"))
    assert chain is not None
    assert chain.steps[0].context.state.content == kept


def test_a_sink_without_steps_has_no_chain(tmp_path: Path) -> None:
    assert SinkSteps(SpoolConfig(path=tmp_path)).chain(configured(scripted()), StepNames("out", "box")) is None
