"""Keys of a terminal, decoded from the bytes that they send."""

from __future__ import annotations

import codecs
import re
from typing import Final

_NAMES: Final = {
    "\x1b": "escape",
    "\r": "enter",
    "\n": "enter",
    "\t": "tab",
    "\x7f": "backspace",
    "\x08": "backspace",
    "\x0c": "redraw",
    "\x1b[A": "up",
    "\x1bOA": "up",
    "\x1b[B": "down",
    "\x1bOB": "down",
    "\x1b[C": "right",
    "\x1bOC": "right",
    "\x1b[D": "left",
    "\x1bOD": "left",
    "\x1b[5~": "page up",
    "\x1b[6~": "page down",
    "\x1b[H": "home",
    "\x1bOH": "home",
    "\x1b[1~": "home",
    "\x1b[F": "end",
    "\x1bOF": "end",
    "\x1b[4~": "end",
}
_MOST_PENDING: Final = 64
"""Longest escape sequence, in characters; a longer one is dropped."""
_TOKEN: Final = re.compile(r"\x1b\[[0-9;:<=>?]*[ -/]*[@-~]|\x1bO.|.", re.DOTALL)
_BEGUN: Final = re.compile(r"\x1b(?:O|\[[0-9;:<=>?]*[ -/]*)?\Z")


class Keys:
    """Turns bytes into keys: a printable character stands for itself, others have names such as `up` and `enter`."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._pending = ""

    @property
    def begun(self) -> bool:
        """A sequence has begun; its rest follows at once, or it is the key Escape."""
        return bool(self._pending)

    def feed(self, data: bytes) -> list[str]:
        """Return the keys that are complete."""
        text = self._pending + self._decoder.decode(data)
        begun = _BEGUN.search(text)
        self._pending = ""
        if begun is not None and len(begun[0]) <= _MOST_PENDING:
            text, self._pending = text[: begun.start()], begun[0]
        return _named(text)

    def rest(self) -> list[str]:
        """Return what has begun and does not continue: the key Escape, and what was typed behind it."""
        text, self._pending = self._pending, ""
        return _named(text)


def _named(text: str) -> list[str]:
    tokens = [found[0] for found in _TOKEN.finditer(text)]
    return [_NAMES.get(token, token) for token in tokens if token in _NAMES or (len(token) == 1 and token.isprintable())]
