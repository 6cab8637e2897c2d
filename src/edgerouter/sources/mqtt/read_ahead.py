"""Reads ahead of accepted messages, to find the broker's answers behind messages that cannot be accepted yet.

Answers are independent of the order of messages, except PUBREL, which is answered once the messages before it are accepted.
"""

from __future__ import annotations

from collections import deque
from typing import Final

from edgerouter.mqtt.packets import PUBLISH, PUBREL, MalformedPacket, parse_header

_LONGEST: Final = 64 * 1024
"""Most bytes of an answer."""
_LITTLE: Final = 256 * 1024
"""Bytes that may always be read ahead."""


class Allowance:
    """Bounds the bytes that one source reads ahead, over all its connections.

    Args:
        most: most bytes.
    """

    def __init__(self, most: int) -> None:
        self.overrun = False
        """The broker sent more than that, and would again: from then on a connection reads ahead no more than it has brought."""
        self._most = most

    def exceeded(self, ahead: int, brought: int) -> bool:
        """Return True if that many bytes are too many, on a connection that has brought that many accepted bytes."""
        if ahead > (min(self._most, max(_LITTLE, brought)) if self.overrun else self._most):
            self.overrun = True
            return True
        return False


class ReadAhead:
    """Holds bytes that were read and not accepted, and walks over their packets from header to header.

    Args:
        begun: bytes read before that begin with a packet; held elsewhere.
    """

    def __init__(self, begun: bytes) -> None:
        self.size = 0
        """Bytes held."""
        self.seen = 0
        """Answers found that will be seen again when the held bytes are accepted."""
        self._pieces: deque[bytes] = deque()
        self._skip = 0
        """Bytes until the next packet begins."""
        self._head = b""
        self.new = self._walk(begun)
        """Answers found and not handled yet: first byte and body."""

    def hold(self, data: bytes) -> None:
        """Keep bytes that were read.

        Raises:
            MalformedPacket: this is not MQTT.
        """
        self.size += len(data)
        self._pieces.append(data)
        self.new += self._walk(data)

    def release(self) -> bytes:
        """Return the next piece to accept; empty if there is none."""
        data = self._pieces.popleft() if self._pieces else b""
        self.size -= len(data)
        return data

    def _walk(self, data: bytes) -> list[tuple[int, bytes]]:
        if self._head:
            data = self._head + data
            self._head = b""
        found = []
        at, end = self._skip, len(data)
        while at < end:
            command = data[at]
            # short lengths are read here: a call for each packet costs more than all the rest
            if end - at >= 2 and (low := data[at + 1]) < 128:
                start, length = at + 2, low
            elif end - at >= 3 and (high := data[at + 2]) < 128:
                start, length = at + 3, low & 127 | high << 7
            elif (header := parse_header(data, at)) is not None:
                start, length = header
            else:
                break
            stop = start + length
            if command & 0xF0 != PUBLISH and command != PUBREL:
                if length > _LONGEST:
                    raise MalformedPacket(f"a packet 0x{command:02x} of {length} bytes")
                if stop > end:
                    break
                found.append((command, data[start:stop]))
            at = stop
        if at < end:
            self._head = data[at:]
        self._skip = max(0, at - end)
        return found
