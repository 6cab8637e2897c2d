"""Messages on their way out over one connection, each followed until the broker is responsible for it.

The answers are read here and not by the MQTT client: it ends the connection for a reason code that it does not know, and the
message would be published for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from edgerouter.mqtt.aliases import Aliases
from edgerouter.mqtt.handshakes import Handshakes
from edgerouter.mqtt.pace import Pace
from edgerouter.mqtt.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, MalformedPacket, encode_publish
from edgerouter.mqtt.publications import UNTRIED, Answer, Error, Pending, Publication

_ONE_GO: Final = 64 * 1024
"""Bytes that are handed to the socket in one piece."""
_LARGEST_WINDOW: Final = 32_767
"""Half of the packet ids, so that one is always free beside those of unfinished handshakes."""
_FAILED: Final = 128
"""Reason codes below it are a success, those that the specification does not know too (MQTT 5.0, 2.4)."""


@dataclass(frozen=True, slots=True)
class _Entry:
    pending: Pending
    index: int
    publication: Publication
    qos: Literal[0, 1, 2]


class Outgoing:
    """Keeps to the window, and to the order of the messages.

    Args:
        send: queues bytes for the socket.
        handshakes: those that an earlier connection left unfinished.
        pace: of the service, where it limits the publishes of a connection.
    """

    def __init__(self, *, send: Callable[[bytes], None], handshakes: Handshakes, pace: Pace | None = None) -> None:
        self.window = 1
        """Most messages of QoS 1 and 2 in flight."""
        self.can_send = True
        """The socket has taken everything so far."""
        self._send = send
        self._handshakes = handshakes
        self._waiting: deque[_Entry] = deque()
        self._in_flight: dict[int, _Entry] = {}
        self._written: list[_Entry] = []
        """QoS 0: on the way to the socket."""
        self._lost: Error | None = None
        self._pumping = False
        self._withdrawn = False
        self._pace = pace
        self._resume: asyncio.TimerHandle | None = None
        self._aliases: Aliases | None = None

    def begin(self, window: int, *, session_present: bool, aliases: int = 0) -> None:
        """Begin after the broker has let us in: release what it has taken and not yet passed on.

        Args:
            window: most messages in flight.
            session_present: the broker has kept our session.
            aliases: topic aliases to use.
        """
        self.window = min(window, _LARGEST_WINDOW)
        self._aliases = Aliases(aliases) if aliases else None
        released = self._handshakes.resumed(present=session_present)
        if released:
            self._send(b"".join(_encode_answer(PUBREL, identifier) for identifier in released))

    def publish(self, publications: Sequence[Publication], qos: Literal[0, 1, 2]) -> Pending:
        """Queue messages; `done` of what is returned is set once each is answered or the connection is lost."""
        pending = Pending(len(publications))
        for index, each in enumerate(publications):
            if self._lost is not None:
                pending.settle(index, self._lost)
            elif self._withdrawn:
                pending.settle(index, UNTRIED)
            else:
                self._waiting.append(_Entry(pending, index, each, qos))
        self._pump()
        return pending

    def withdraw(self, pending: Pending | None = None) -> None:
        """Return what is not sent yet as untried: that of one call, or of all, after which nothing more is sent."""
        self._withdrawn = self._withdrawn or pending is None
        waiting, self._waiting = self._waiting, deque()
        for entry in waiting:
            if pending is None or entry.pending is pending:
                entry.pending.settle(entry.index, UNTRIED)
            else:
                self._waiting.append(entry)

    def written(self) -> None:
        """Note that the socket has taken everything, and go on."""
        self.can_send = True
        written, self._written = self._written, []
        for entry in written:
            entry.pending.settle(entry.index, Answer(0))
        self._pump()

    def _pump(self) -> None:
        """Send what the window and the socket allow."""
        if self._pumping:
            return
        waiting, in_flight, pace = self._waiting, self._in_flight, self._pace
        self._pumping = True
        try:
            while waiting and self.can_send and self._lost is None:
                packets: list[bytes] = []
                size = 0
                while waiting and size < _ONE_GO and (not waiting[0].qos or len(in_flight) < self.window):
                    if pace is not None and not pace.take(len(waiting[0].publication.payload)):
                        self._resume_in(pace.wait)
                        break
                    packet = self._begin(waiting.popleft())
                    packets.append(packet)
                    size += len(packet)
                if not packets:
                    return
                if size:
                    self.can_send = False
                    self._send(b"".join(packets))
        finally:
            self._pumping = False

    def _resume_in(self, seconds: float) -> None:
        if self._resume is None:
            self._resume = asyncio.get_running_loop().call_later(seconds, self._resume_now)

    def _resume_now(self) -> None:
        self._resume = None
        self._pump()

    def received(self, command: int, body: bytes) -> None:
        """Handle a PUBACK, PUBREC or PUBCOMP; `resume` follows the last one of a read.

        Raises:
            MalformedPacket: it has no packet id.
        """
        if len(body) < 2:
            raise MalformedPacket(f"an answer 0x{command:02x} without a packet id")
        identifier = int.from_bytes(body[:2])
        code = body[2] if len(body) > 2 else 0
        kind = command & 0xF0
        entry = self._in_flight.get(identifier)
        if kind == PUBREC and code < _FAILED:
            # also for an id that we do not know: the broker would wait for its release for ever
            self._handshakes.received(identifier)
            self._send(_encode_answer(PUBREL, identifier))
            return
        if kind == PUBCOMP:
            self._handshakes.completed(identifier, awaited=entry is not None)
            code = 0  # all that it could say otherwise is that it has forgotten the id, and so has released the message
        if entry is None or (kind == PUBACK) != (entry.qos == 1):
            return
        del self._in_flight[identifier]
        if kind == PUBREC:
            self._handshakes.refused(identifier)
        entry.pending.settle(entry.index, Answer(code))

    def resume(self) -> None:
        """Send what the window allows again, once for all answers of a read: each send is a system call, and a TLS record.

        Not later: a broker that waits for our TCP acknowledgement of its first answer, as mosquitto does, would stall.
        """
        self._pump()

    def end(self, error: Error) -> None:
        """Fail everything that is not answered."""
        self._lost = error
        if self._resume is not None:
            self._resume.cancel()
        for entry in (*self._in_flight.values(), *self._waiting, *self._written):
            entry.pending.settle(entry.index, error)
        self._in_flight.clear()
        self._waiting.clear()
        self._written.clear()

    def _begin(self, entry: _Entry) -> bytes:
        each = entry.publication
        if entry.qos == 0:
            self._written.append(entry)
            return self._encode(each, 0, 0, again=False)
        if entry.qos == 1:
            identifier = self._handshakes.next_id(self._in_flight)
            self._in_flight[identifier] = entry
            return self._encode(each, 1, identifier, again=False)
        if self._handshakes.is_done(each.key):
            entry.pending.settle(entry.index, Answer(0))
            return b""
        identifier, state = self._handshakes.begin(each.key, self._in_flight)
        self._in_flight[identifier] = entry
        # what the broker has received was released when the connection was made
        return b"" if state == "received" else self._encode(each, 2, identifier, again=state == "sent")

    def _encode(self, each: Publication, qos: int, identifier: int, *, again: bool) -> bytes:
        topic, properties = each.topic, each.properties
        if self._aliases is not None:
            topic, properties = self._aliases.apply(topic, properties)
        return encode_publish(topic, each.payload, qos, identifier, retain=each.retain, again=again, properties=properties)


def _encode_answer(command: int, identifier: int) -> bytes:
    return bytes((command, 2)) + identifier.to_bytes(2)
