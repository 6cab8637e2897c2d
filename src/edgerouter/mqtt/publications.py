"""A message ready to be published, and what became of it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from enum import Enum, auto
from typing import Final

import msgspec

from edgerouter.errors import Rejected, Unavailable

Error = Unavailable | Rejected


class Publication(msgspec.Struct, frozen=True, gc=False):
    """One message, ready to be published."""

    topic: str
    payload: bytes
    retain: bool
    properties: bytes = b""
    """Those of MQTT 5, encoded with their length; empty for 3.1.1."""
    key: str = ""
    """Id of the message, by which an attempt at QoS 2 is continued on another connection."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The broker's reason code for one publication."""

    code: int


ANSWERS: Final = tuple(map(Answer, range(256)))
"""Answer by its code: one object each, and not one a message."""


class Untried(Enum):
    """A publication that was not sent, because the call or the connection ended in time."""

    UNTRIED = auto()


UNTRIED: Final = Untried.UNTRIED
Result = Answer | Error | Untried
"""Fate of one publication."""


class Pending:
    """One call of `publish`, and what is known of its messages."""

    def __init__(self, size: int) -> None:
        self.answers: list[Result | None] = [None] * size
        self.left = size
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        if not size:
            self.done.set_result(None)

    def settle(self, index: int, answer: Result) -> None:
        """Note the answer to one message."""
        if self.answers[index] is None:
            self.answers[index] = answer
            self.left -= 1
            if self.left == 0 and not self.done.done():
                self.done.set_result(None)
