"""Messages that a tap shows, as lines for people or as JSON for programs."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

import typer

from edgerouter.admin.client import NoRouter
from edgerouter.admin.stream_client import Address, Sent, events
from edgerouter.cli.output import say
from edgerouter.visible import visible

RETRY_SECONDS = 1.0
"""Between two attempts to find a router."""
_MOST_SHOWN: Final = 20_000
"""Characters of a line; the router cuts far earlier, and the other side may be another program."""


@dataclass(frozen=True, slots=True)
class Choice:
    """Messages to show."""

    topic: str
    sink: str | None
    after_steps: bool

    @property
    def path(self) -> str:
        """Path of the endpoint, with its arguments."""
        asked: dict[str, str] = {"topic": self.topic}
        if self.sink is not None:
            asked |= {"sink": self.sink, "after_steps": "true" if self.after_steps else "false"}
        return f"/api/v1/tap?{urlencode(asked)}"


def follow(address: Address, choice: Choice, count: int | None, *, as_json: bool) -> None:
    """Print messages until Ctrl-C, or so many; wait for a router that does not run, and for one that restarts.

    Raises:
        Refused: the router refuses; the text says why.
    """
    printed = _Printed(choice, count, as_json=as_json)
    try:
        while not printed.enough:
            try:
                for sent in events(address, choice.path):
                    printed.add(sent)
                    if printed.enough:
                        return
                printed.lost(f"the router at {address.name} ended the tap")
            except NoRouter as error:
                printed.lost(str(error))
            time.sleep(RETRY_SECONDS)
    except KeyboardInterrupt:
        return


class _Printed:
    def __init__(self, choice: Choice, count: int | None, *, as_json: bool) -> None:
        self._choice = choice
        self._left = count
        self._line: Callable[[Mapping[str, Any]], str] = json.dumps if as_json else line
        self._waits = False

    @property
    def enough(self) -> bool:
        return self._left == 0

    def add(self, sent: Sent) -> None:
        if sent.kind == "open":
            self._waits = False
            say(f"messages that match {visible(self._choice.topic)}, until Ctrl-C:", err=True)
        elif sent.kind == "missed" and isinstance(sent.data, dict):
            say(f"left out: {visible(str(sent.data.get('messages')))}", err=True)
        elif not sent.kind and isinstance(sent.data, dict):
            typer.echo(self._line(sent.data)[:_MOST_SHOWN])
            self._left = None if self._left is None else self._left - 1

    def lost(self, reason: str) -> None:
        if not self._waits:
            say(f"{reason}; waiting for it, Ctrl-C ends", err=True)
        self._waits = True


def line(message: Mapping[str, Any]) -> str:
    """Return a message on one line, with every character that commands a terminal escaped."""
    parts = [_clock(message.get("at")), str(message.get("topic", "")), _payload(message)]
    if message.get("retained"):
        parts.append("(retained)")
    properties = message.get("user_properties")
    pairs = [" = ".join(map(str, pair)) for pair in properties if isinstance(pair, list)] if isinstance(properties, list) else []
    if more := message.get("user_properties_left_out"):
        pairs.append(f"and {more} more")
    if pairs:
        parts.append(f"[{', '.join(pairs)}]")
    return visible(" ".join(parts))


def _payload(message: Mapping[str, Any]) -> str:
    payload, size = str(message.get("payload", "")), message.get("size")
    if message.get("encoding") == "none":
        return f"({size} bytes: {message.get('hidden')})"
    shown = f"base64:{payload}" if message.get("encoding") == "base64" else payload
    return f"{shown}... ({size} bytes)" if message.get("cut") else shown


def _clock(seconds: object) -> str:
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC).astimezone().strftime("%H:%M:%S.%f")[:-3]
    except (ValueError, OverflowError, OSError):
        return "-"
