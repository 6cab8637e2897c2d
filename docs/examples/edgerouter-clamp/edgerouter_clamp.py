"""The step `clamp`: keep a number within bounds."""

from __future__ import annotations

import math

from pydantic import Field

from edgerouter import BadInput, Item, Step, StepConfig


class ClampConfig(StepConfig):
    """Keeps a number within bounds."""

    field: str = Field(min_length=1)
    """Member of the JSON object."""
    least: float = -math.inf
    """Smaller values become this."""
    most: float = math.inf
    """Larger values become this."""


class ClampStep(Step[ClampConfig]):
    """Replaces what is out of bounds, in a copy of the document."""

    reads = True

    def apply(self, items: list[Item]) -> list[Item]:
        out = []
        for item in items:
            try:
                self._clamp(item)
            except BadInput as error:
                if not self.context.refuse(item, error):
                    continue
            out.append(item)
        return out

    def _clamp(self, item: Item) -> None:
        document, name = item.document, self.config.field
        if not isinstance(document, dict) or name not in document:
            raise BadInput("missing field", name)
        value = document[name]
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise BadInput("wrong type", f"{name} is not a number")
        clamped = min(max(value, self.config.least), self.config.most)
        if clamped != value:
            item.becomes({**document, name: clamped})
