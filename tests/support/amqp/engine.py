"""Server side of AMQP connections; the container behind them gives the nodes their meaning."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from typing import Any, Protocol

from support.amqp import performatives as p
from support.amqp.codec import Array, MalformedAmqp, Symbol
from support.amqp.links import Nodes, Refused, Session

_SASL_HEADER, _AMQP_HEADER = b"AMQP\x03\x01\x00\x00", b"AMQP\x00\x01\x00\x00"


class Stream(Protocol):
    """Bytes in both directions, over TCP or a WebSocket."""

    async def read(self, size: int) -> bytes: ...  # raises EOFError at the end
    def write(self, data: bytes) -> None: ...
    async def drain(self) -> None: ...
    def abort(self) -> None: ...
    async def close(self) -> None: ...


class Container(Nodes, Protocol):
    """Server behind the connections."""

    max_frame_size: int
    inactivity: float | None
    problems: list[Exception]

    def opened(self, connection: Connection) -> None: ...
    def gone(self, connection: Connection) -> None: ...


class Connection:
    """One connection, from its first byte to its last."""

    def __init__(self, stream: Stream, container: Container) -> None:
        self.stream, self.container = stream, container
        self.open = p.Open()
        self.max_frame_out = 512
        self.sessions: dict[int, Session] = {}
        self.state: dict[str, Any] = {}
        """State that the container keeps per connection."""
        self._closing = False
        self._ended: set[int] = set()
        self._active = asyncio.get_running_loop().time()
        self._timers: list[asyncio.TimerHandle] = []

    async def run(self) -> None:
        """Serve until either side closes; never raises for an error of the peer."""
        try:
            await self._shake_hands()
            while not self._closing:
                await self._serve_frame()
                await self.stream.drain()
        except (MalformedAmqp, Refused) as problem:
            condition = problem.condition if isinstance(problem, Refused) else "amqp:decode-error"
            self.close(condition, str(problem))
            self.container_problem(problem)
        except (EOFError, OSError):
            pass
        finally:
            for timer in self._timers:
                timer.cancel()
            self.container.gone(self)
            with contextlib.suppress(OSError):
                await self.stream.close()

    def container_problem(self, problem: Exception) -> None:
        """Record an error of the peer, for tests to inspect."""
        self.container.problems.append(problem)

    def send(self, channel: int, performative: p.Performative | None, payload: bytes = b"") -> None:
        self.stream.write(p.frame(channel, performative, payload))

    def close(self, condition: str | None = None, description: str = "") -> None:
        """Send a close; the peer may or may not answer."""
        if not self._closing:
            self._closing = True
            self.send(0, p.Close(error=p.error(condition, description) if condition else None))

    def abort(self) -> None:
        """Drop the connection without a close."""
        self._closing = True
        self.stream.abort()

    def later(self, seconds: float, call: Callable[[], None]) -> None:
        """Call after a delay, unless the connection has ended by then."""
        self._timers.append(asyncio.get_running_loop().call_later(seconds, call))

    async def _shake_hands(self) -> None:
        if await self.stream.read(8) != _SASL_HEADER:
            raise MalformedAmqp("SASL is expected first")
        mechanisms = p.SaslMechanisms(mechanisms=Array((Symbol("MSSBCBS"), Symbol("ANONYMOUS"))))
        self.stream.write(_SASL_HEADER + p.frame(0, mechanisms, sasl=True))
        init, _, _ = await self._read_frame(sasl=True)
        if not isinstance(init, p.SaslInit):
            raise MalformedAmqp("a SASL init is expected")
        welcome = init.mechanism in {"ANONYMOUS", "MSSBCBS"}
        self.stream.write(p.frame(0, p.SaslOutcome(outcome=0 if welcome else 1), sasl=True))
        if not welcome or await self.stream.read(8) != _AMQP_HEADER:
            raise EOFError
        self.stream.write(_AMQP_HEADER)
        opened, _, _ = await self._read_frame()
        if not isinstance(opened, p.Open):
            raise MalformedAmqp("an open is expected")
        self.open = opened
        self.max_frame_out = min(opened.max_frame_size or 2**32 - 1, 65536)
        patience = self.container.inactivity
        self.send(
            0,
            p.Open(container_id="test-server", hostname=opened.hostname, max_frame_size=self.container.max_frame_size,
                   channel_max=255, idle_time_out=int(patience * 1000) if patience else None),
        )  # fmt: skip
        self.container.opened(self)
        if patience:
            self._watch(patience)
        if opened.idle_time_out:
            self._beat(opened.idle_time_out / 3000)

    def _watch(self, patience: float) -> None:
        idle = asyncio.get_running_loop().time() - self._active
        if idle >= patience:
            self.close("amqp:connection:forced", "The connection was inactive for more than the allowed time and is closed.")
            self.later(0.5, self.stream.abort)
        else:
            self.later(patience - idle + 0.01, lambda: self._watch(patience))

    def _beat(self, interval: float) -> None:
        self.send(0, None)
        self.later(interval, lambda: self._beat(interval))

    async def _read_frame(self, *, sasl: bool = False) -> tuple[p.Performative | None, int, bytes]:
        header = await self.stream.read(8)
        size, offset, kind, channel = int.from_bytes(header[:4]), header[4], header[5], int.from_bytes(header[6:])
        if size < 8 or offset < 2 or offset * 4 > size or kind != int(sasl) or size > self.container.max_frame_size:
            raise MalformedAmqp(f"a bad frame header: {header.hex()}")
        body = await self.stream.read(size - 8) if size > 8 else b""
        self._active = asyncio.get_running_loop().time()
        body = body[offset * 4 - 8 :]
        if not body:
            return None, channel, b""
        performative, payload = p.read_performative(body)
        return performative, channel, payload

    async def _serve_frame(self) -> None:
        performative, channel, payload = await self._read_frame()
        match performative:
            case None:
                return
            case p.Close():
                self.close()
            case p.Begin():
                if channel in self.sessions:
                    raise Refused("amqp:not-allowed", "the channel is in use")
                self.sessions[channel] = Session(self, performative, channel, channel)
            case p.End():
                session = self.sessions.pop(channel)
                session.send(p.End())
                self._ended.add(channel)
            case p.Detach() if channel in self._ended:
                return  # the Azure client ends a session before it detaches its links
            case _ if channel in self.sessions:
                try:
                    self.sessions[channel].received(performative, payload)
                except Refused as refusal:
                    self.sessions.pop(channel).send(p.End(error=p.error(refusal.condition, refusal.description)))
                    self.container_problem(refusal)
            case _:
                raise MalformedAmqp(f"{type(performative).__name__} on channel {channel} without a session")
