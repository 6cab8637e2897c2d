"""Files in the fields of steps: the content of a file may be a secret, and what a step sets gets into messages."""

from __future__ import annotations

from collections.abc import Iterator

from pydantic import BaseModel

from edgerouter.config.fields import fields
from edgerouter.config.tree import Node, Place

_REASON = (
    "${file:...} works only in a secret field of a step: its content would get into messages; write the value, or use ${env:NAME}"
)


def faults(step: Node, model: type[BaseModel]) -> Iterator[tuple[Place, str]]:
    """Yield the place of each value out of a file in a field that is not secret, and the reason.

    Args:
        step: fields of one step, with their references resolved.
        model: configuration of that step.
    """
    secret = {field.path[0] for field in fields(model) if field.secret}
    for place, node in step.walk():
        if node.reference is not None and "${file:" in node.reference and place[0] not in secret:
            yield place, _REASON
