"""Parser of what a server sends: bounded in bytes, and fast for many small messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, Protocol

from nats.errors import ProtocolError

MOST_LINE_BYTES: Final = 64 * 1024
"""Longest line to accept; INFO of a server in a large cluster lists the addresses of all others."""
_CRLF: Final = b"\r\n"


class Arrived(NamedTuple):
    """One message as it came over the wire."""

    subject: str
    reply: str
    headers: bytes
    """With the line `NATS/1.0`; empty where there are none."""
    payload: bytes


class Skipped(NamedTuple):
    """A message longer than the bound, which streamed by."""

    subject: str
    reply: str
    size: int


class Listener(Protocol):
    """Receives the messages of one subscription, those read together in one call."""

    def arrived(self, messages: list[Arrived]) -> None: ...

    def skipped(self, message: Skipped) -> None: ...


class Handlers(Protocol):
    """Receiver of everything that is not for a listener."""

    async def on_message(self, sid: int, subject: bytes, reply: bytes, payload: bytes, headers: bytes) -> None: ...

    async def on_error(self, text: str) -> None: ...

    async def on_info(self, text: bytes) -> None: ...

    async def on_ping(self) -> None: ...

    async def on_pong(self) -> None: ...


class Parser:
    """Stands in for nats-py's parser, which keeps an endless line, and as much of a payload as a server announces.

    Args:
        handlers: receiver of messages without a listener, and of everything else.
        most_bytes: longest message with its headers; a longer one is skipped.
    """

    def __init__(self, handlers: Handlers, most_bytes: int) -> None:
        self.listeners: dict[int, Listener] = {}
        self._most_bytes = most_bytes
        self._verbs: dict[bytes, Callable[[bytes], Awaitable[None]]] = {
            b"PING": lambda _: handlers.on_ping(),
            b"PONG": lambda _: handlers.on_pong(),
            b"INFO": handlers.on_info,
            b"-ERR": lambda text: handlers.on_error(text.decode(errors="replace").strip(" '")),
            b"+OK": lambda _: _nothing(),
        }
        self._handlers = handlers
        self._others: list[tuple[int, bytes, bytes, bytes, bytes]] = []
        """The message that was just read, if no listener has its subscription."""
        self.reset()

    def reset(self) -> None:
        """Forget a half message, as a new connection wants it."""
        self._buffer = bytearray()
        self._needed = 0
        """Bytes that must have come before it is worth while to look again."""
        self._skip = 0
        """Bytes to drop: the rest of a message that is too long."""

    @property
    def held(self) -> int:
        """Bytes of what is not complete yet."""
        return len(self._buffer)

    async def parse(self, data: bytes = b"") -> None:
        """Take what was read from the socket.

        Raises:
            ProtocolError: the other side does not speak NATS; nothing else is raised, because nats-py would stop reading without
                closing the connection.
        """
        if self._skip:
            dropped = min(self._skip, len(data))
            self._skip -= dropped
            data = data[dropped:]
        self._buffer += data
        if len(self._buffer) < self._needed:
            return
        try:
            await self._parse()
        except ProtocolError:
            raise
        except Exception as error:
            raise ProtocolError(f"unexpected {type(error).__name__}") from error

    async def _parse(self) -> None:
        buffer, gathered = bytes(self._buffer), dict[int, list[Arrived]]()
        at, end, self._needed = 0, len(buffer), 0
        try:
            while at < end:
                line_end = buffer.find(_CRLF, at, at + MOST_LINE_BYTES)
                if line_end < 0:
                    if end - at >= MOST_LINE_BYTES:
                        raise ProtocolError(f"a line of more than {MOST_LINE_BYTES} bytes")
                    break
                if buffer[at] in b"MHmh":
                    after = self._message(buffer, at, line_end, gathered)
                    if after < 0:
                        break
                    at = after
                    if self._others:
                        await self._handlers.on_message(*self._others.pop())
                    continue
                at, line = line_end + 2, buffer[at:line_end]
                if line:
                    verb, _, rest = line.partition(b" ")
                    call = self._verbs.get(verb.upper())
                    if call is None:
                        raise ProtocolError(f"unknown operation {verb[:16]!r}")
                    # before an answer to a ping, everything that came earlier has been handed over
                    self._hand_over(gathered)
                    await call(rest)
        finally:
            self._buffer = bytearray(buffer[at:])
            self._hand_over(gathered)

    def _message(self, buffer: bytes, at: int, line_end: int, gathered: dict[int, list[Arrived]]) -> int:
        """Take one message, and return where the next begins; -1 if it is not complete."""
        words = buffer[at:line_end].split()
        with_headers = buffer[at] in b"Hh"
        if len(words) == 4 + with_headers:
            words.insert(3, b"")
        elif len(words) != 5 + with_headers:
            raise ProtocolError("a message's line has another number of words")
        subject, sid, reply, size = words[1], int(words[2]), words[3], int(words[-1])
        header_size = int(words[4]) if with_headers else 0
        start, after = line_end + 2, line_end + 4 + size
        if not 0 <= header_size <= size:
            raise ProtocolError("a message is shorter than its headers")
        if size > self._most_bytes:
            self._hand_over(gathered)
            return self._skipped(sid, Skipped(subject.decode(), reply.decode(), size), len(buffer), after)
        if after > len(buffer):
            self._needed = after - at
            return -1
        if buffer[after - 2 : after] != _CRLF:
            raise ProtocolError("a message does not end where its length says")
        headers, payload = buffer[start : start + header_size], buffer[start + header_size : after - 2]
        if (messages := gathered.get(sid)) is not None:
            messages.append(Arrived(subject.decode(), reply.decode(), headers, payload))
        elif sid in self.listeners:
            gathered[sid] = [Arrived(subject.decode(), reply.decode(), headers, payload)]
        else:
            self._hand_over(gathered)
            self._others.append((sid, subject, reply, payload, headers))
        return after

    def _skipped(self, sid: int, message: Skipped, there: int, after: int) -> int:
        if (listener := self.listeners.get(sid)) is not None:
            listener.skipped(message)
        self._skip = max(0, after - there)
        return min(after, there)

    def _hand_over(self, gathered: dict[int, list[Arrived]]) -> None:
        for sid, messages in gathered.items():
            if (listener := self.listeners.get(sid)) is not None:
                listener.arrived(messages)
        gathered.clear()


async def _nothing() -> None:
    """Take no notice."""
