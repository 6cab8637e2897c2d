"""Reads one connection within the bounds of messages in flight, and no further than the fence allows."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Final

from edgerouter.mqtt.client import Client
from edgerouter.mqtt.packets import PINGRESP
from edgerouter.sources.mqtt.fence import Fence
from edgerouter.sources.mqtt.in_flight import Batch, InFlight
from edgerouter.sources.mqtt.read_ahead import Allowance, ReadAhead
from edgerouter.sources.mqtt.releases import ReleaseRhythm
from edgerouter.sources.mqtt.rhythm import Rhythm
from edgerouter.sources.mqtt.stream import PublishStream
from edgerouter.sources.mqtt.window import SenderWindow

OVERRUN: Final = "the broker sends much more than it should before it reads acknowledgements"
"""Closing makes the broker read them, and it resends everything beyond."""
_HARD_LIMIT: Final = 2
"""Multiple of the bounds that may be accepted when reading continues only to keep the connection alive."""
_MOMENT: Final = 0.001
"""Seconds for which reading waits while a broker sends small answers one by one."""
_PATIENCE: Final = 4
"""Fraction of the keep-alive interval after which its answer is searched for behind messages that cannot be accepted yet."""


class Inflow:
    """Reads, pauses and resumes.

    While sinks or disk are behind, nothing is read, and the broker waits. While only the fence is behind, reading continues
    without accepting messages, because the answer that moves the fence follows the data that the broker has already sent.
    While a PUBREL is awaited, reading does not wait for the router: its answer needs no commit, and the broker may wait for it.

    Args:
        in_flight: destination of messages.
        stream: splits bytes into messages.
        client: the connection.
        allowance: bounds the bytes read ahead.
        window: unacknowledged messages after which the broker is assumed to wait; a smaller window is learned, and a larger one.
        flush_now: called when the broker waits for acknowledgements.
        cut: ends the connection, with a reason.
        other_answer: handles every answer except the fence's; returns True if the connection is still alive.
        awaits_release: returns True while the broker has not released every message of QoS 2 that was answered.
    """

    def __init__(
        self,
        in_flight: InFlight,
        stream: PublishStream,
        client: Client,
        *,
        allowance: Allowance,
        window: int,
        flush_now: Callable[[], None],
        cut: Callable[[str], None],
        other_answer: Callable[[int, bytes], bool],
        awaits_release: Callable[[], bool],
    ) -> None:
        self.fence: Fence[Batch] = Fence(in_flight.unconfirmed, client.send, self._passed)
        self._in_flight = in_flight
        self._stream = stream
        self._client = client
        self._allowance = allowance
        self._brought = 0
        """Bytes of this connection that were accepted."""
        self._window = SenderWindow(window, in_flight.max_messages)
        self._rhythm = Rhythm()
        self._busy = False
        """The router is storing a delivery, or pauses after it."""
        self._waits = False
        """Nothing is read until the router asks for the next delivery."""
        self._flush_now = flush_now
        self._hurried: Batch | None = None
        self._cut = cut
        self._other_answer = other_answer
        self._releases = ReleaseRhythm(awaits_release)
        self._ahead: ReadAhead | None = None
        self._paused = False
        self._dosing = False
        self._soon = False

    def send(self, acks: bytes) -> None:
        """Send acknowledgements at once."""
        self.fence.send(acks)

    def queue(self, acks: bytes) -> None:
        """Send acknowledgements at the next turn of the event loop."""
        self._client.queue(acks)

    def received(self, data: bytes) -> None:
        """Parse the bytes read.

        Raises:
            MalformedPacket: this is not MQTT; the connection is unusable.
        """
        if self._ahead is not None:
            self._read_ahead(self._ahead, data)
            return
        self._parse(data)
        # once all is parsed: it may fill the bounds, and then the fence's answer must be read
        broker_may_wait, more_follow = self._releases.end_read()
        if self._waits or not self._reads_freely:
            return
        if self._busy and not broker_may_wait and self._rhythm.may_wait(len(data)):
            self._waits = True
            self._client.reading.pause()
        elif more_follow:
            self._client.reading.pause()
            asyncio.get_running_loop().call_later(_MOMENT, self._expected)

    def asked(self) -> None:
        """Read what has come, if reading waited for the router to ask for messages."""
        self._busy = False
        if not self._waits:
            return
        in_flight = self._in_flight
        before = in_flight.current.received
        size = self._client.reading.read_waiting()
        if size and self._reads_freely:
            # a broker with Nagle's algorithm keeps later packets back until TCP has acknowledged these
            self._client.hasten()
            size += self._client.reading.read_waiting()
        messages = in_flight.current.received - before
        broker_waits = self._hurried is in_flight.current or self._releases.awaited
        if broker_waits or not self._reads_freely or not self._rhythm.may_wait_again(size, messages):
            self._read_as_it_comes()

    def busy(self, *, with_messages: bool) -> None:
        """Record that the router has messages to store and asks again afterwards; or that it has none and waits for some."""
        self._busy = with_messages
        if not with_messages:
            self._read_as_it_comes()

    def released(self, number: int) -> None:
        """Record PUBRELs that were read and answered."""
        self._releases.released(number)

    def _expected(self) -> None:
        if not self._waits and not self._paused:
            self._client.reading.resume()

    @property
    def _reads_freely(self) -> bool:
        """Neither bounds nor the fence keep anything from being accepted."""
        return not self._paused and self._ahead is None and self._client.is_open

    def _read_as_it_comes(self) -> None:
        if self._waits:
            self._waits = False
            if not self._paused:
                self._client.reading.resume()

    def has_room(self) -> None:
        """Resume reading if acknowledgements have freed enough capacity."""
        self._window.acknowledged(self._in_flight.unacknowledged)
        self._rhythm.acknowledged()
        if self._releases.come_one_by_one:
            self._read_as_it_comes()
        if self._paused and self._in_flight.has_half_of_its_room:
            self._paused = False
            if self._stream.skipped:
                # skipped messages arrive again only on a new connection
                self._cut("the broker sent more than it should; connecting again for what was left out")
                return
            self._client.reading.resume()
            if self._stream.holds_packets:
                self._go_on_soon()

    def tick(self) -> None:
        """Determine how far the broker has read, and keep the connection alive while nothing is read."""
        self.fence.tick()
        if self._waits:
            # the router may be busy for long, and the broker's answers must be seen
            self._client.reading.read_waiting()
            if self._releases.awaited:
                self._read_as_it_comes()
        waiting_since = self._client.awaits_answer_since
        if self._paused and waiting_since and time.monotonic() - waiting_since > self._client.keepalive / _PATIENCE:
            self._dosing = True
            try:
                self._client.reading.read_once()
            finally:
                self._dosing = False

    def answered(self, command: int, body: bytes) -> bool:
        """Handle an accepted answer of the broker. Return True if the connection is still alive."""
        if self._ahead is not None and self._ahead.seen:
            self._ahead.seen -= 1
            return self._client.is_open
        return self._handle(command, body)

    def _parse(self, data: bytes) -> None:
        in_flight = self._in_flight
        self._brought += len(data)
        self._stream.feed(data, beyond=_HARD_LIMIT if self._dosing else 1)
        if self._window.arrived(in_flight.unacknowledged) and in_flight.current is not self._hurried:
            self._hurried = in_flight.current
            self._flush_now()
        if in_flight.is_full and not self._paused and self._client.is_open:
            self._paused = True
            self._waits = False
            self._client.reading.pause()
        elif self._ahead is None and not self._paused and self._stream.holds_packets and in_flight.awaits_fence:
            self._ahead = ReadAhead(self._stream.held)
            self._look_at_answers(self._ahead)

    def _read_ahead(self, ahead: ReadAhead, data: bytes) -> None:
        if data:
            ahead.hold(data)
            self._look_at_answers(ahead)
        in_flight = self._in_flight
        if not in_flight.awaits_fence and not self._paused:
            # no more than one read returns, then other tasks run
            piece = ahead.release()
            self._parse(piece)
            if piece:
                self._go_on_soon()
            elif not self._stream.holds_packets:
                self._ahead = None
        if self._ahead is not None and self._allowance.exceeded(ahead.size, self._brought):
            # closing makes the broker read everything sent, which is also a fence
            self._cut(OVERRUN)

    def _look_at_answers(self, ahead: ReadAhead) -> None:
        found, ahead.new = ahead.new, []
        ahead.seen += len(found)
        for command, body in found:
            if not self._handle(command, body):
                return

    def _handle(self, command: int, body: bytes) -> bool:
        if command == PINGRESP and not self.fence.answered():
            return self._client.is_open
        return self._other_answer(command, body)

    def _passed(self) -> None:
        if self._ahead is not None and not self._paused:
            self._go_on_soon()

    def _go_on_soon(self) -> None:
        if not self._soon:
            self._soon = True
            asyncio.get_running_loop().call_soon(self._go_on)

    def _go_on(self) -> None:
        self._soon = False
        self._client.reading.go_on()
