"""Messages on their way out over one connection, each followed until the broker is responsible for it.

The answers are read here and not by the MQTT client: it ends the connection for a reason code that it does not know, and the
message would be published for ever.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from struct import Struct
from typing import Final, Literal

from edgerouter.mqtt.aliases import Aliases
from edgerouter.mqtt.handshakes import Handshakes
from edgerouter.mqtt.pace import Pace
from edgerouter.mqtt.packets import PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, MalformedPacket, encode_topic, put_publish
from edgerouter.mqtt.publications import ANSWERS, UNTRIED, Error, Pending, Publication, Result
from edgerouter.topic_cache import TopicCache

_ONE_GO: Final = 64 * 1024
"""Bytes that are handed to the socket in one piece."""
_LARGEST_WINDOW: Final = 32_767
"""Half of the packet ids, so that one is always free beside those of unfinished handshakes."""
_TOPIC_BYTES: Final = 1024 * 1024
"""Bound of the topics whose bytes are remembered."""
_AT_ONCE: Final = 256
"""PUBACKs that are copied together: a broker may send them in other forms by turns."""
_PUBACKS: Final = {form.size - 2: form for form in map(Struct, (">BBH", ">BBHB", ">BBHBB"))}
"""Forms of a PUBACK by their length: alone, with a reason code, and with no properties behind it."""
_FAILED: Final = 128
"""Reason codes below it are a success, those that the specification does not know too (MQTT 5.0, 2.4)."""


class _Call:
    """Messages of one call of `publish` that are not sent yet."""

    __slots__ = ("begun", "pending", "publications", "qos")

    def __init__(self, pending: Pending, publications: Sequence[Publication], qos: Literal[0, 1, 2]) -> None:
        self.pending = pending
        self.publications = publications
        self.qos = qos
        self.begun = 0
        """Those before it are sent."""

    def settle(self, answer: Result) -> None:
        """Give the same answer to all that are not sent."""
        for index in range(self.begun, len(self.publications)):
            self.pending.settle(index, answer)
        self.begun = len(self.publications)


class Outgoing:
    """Keeps to the window, and to the order of the messages.

    Args:
        send: queues bytes for the socket.
        answer: sends a packet that a received one asks for; raises MalformedPacket beyond its bound.
        hasten: has the system acknowledge what has been read.
        handshakes: those that an earlier connection left unfinished.
        pace: of the service, where it limits the publishes of a connection.
    """

    def __init__(
        self,
        *,
        send: Callable[[bytes], None],
        answer: Callable[[bytes], None],
        hasten: Callable[[], None],
        handshakes: Handshakes,
        pace: Pace | None = None,
    ) -> None:
        self.window = 1
        """Most messages of QoS 1 and 2 in flight."""
        self.can_send = True
        """The socket has taken everything so far."""
        self._send = send
        self._answer = answer
        self._hasten = hasten
        self._handshakes = handshakes
        self._waiting: deque[_Call] = deque()
        self._in_flight: dict[int, tuple[Pending, int, int]] = {}
        """Call, place in it, and QoS by packet id."""
        self._written: list[tuple[Pending, int]] = []
        """QoS 0: on the way to the socket."""
        self._topics: TopicCache[str, bytes] = TopicCache(encode_topic, most_bytes=_TOPIC_BYTES)
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
        call = _Call(pending, publications, qos)
        if self._lost is not None:
            call.settle(self._lost)
        elif self._withdrawn:
            call.settle(UNTRIED)
        else:
            self._waiting.append(call)
        self._pump()
        return pending

    def withdraw(self, pending: Pending | None = None) -> None:
        """Return what is not sent yet as untried: that of one call, or of all, after which nothing more is sent."""
        self._withdrawn = self._withdrawn or pending is None
        waiting, self._waiting = self._waiting, deque()
        for call in waiting:
            if pending is None or call.pending is pending:
                call.settle(UNTRIED)
            else:
                self._waiting.append(call)

    def written(self) -> None:
        """Note that the socket has taken everything, and go on."""
        self.can_send = True
        written, self._written = self._written, []
        for pending, index in written:
            pending.settle(index, ANSWERS[0])
        self._pump()

    def _pump(self) -> None:
        """Send what the window and the socket allow."""
        if self._pumping:
            return
        self._pumping = True
        try:
            while self._waiting and self.can_send and self._lost is None:
                parts: list[bytes] = []
                if not self._fill(parts):
                    return
                if parts:
                    self.can_send = False
                    self._send(b"".join(parts))
        finally:
            self._pumping = False

    def _fill(self, parts: list[bytes]) -> bool:
        """Encode what goes to the socket in one piece; return False where nothing may be sent now."""
        waiting, in_flight, pace, window = self._waiting, self._in_flight, self._pace, self.window
        size, goes_on = 0, False
        while waiting:
            call = waiting[0]
            pending, publications, qos, index = call.pending, call.publications, call.qos, call.begun
            while index < len(publications) and size < _ONE_GO and (not qos or len(in_flight) < window):
                each = publications[index]
                if pace is not None and not pace.take(len(each.payload)):
                    self._resume_in(pace.wait)
                    break
                size += self._begin(pending, index, qos, each, parts)
                index += 1
                goes_on = True
            call.begun = index
            if index < len(publications):
                break
            waiting.popleft()
        return goes_on

    def _resume_in(self, seconds: float) -> None:
        if self._resume is None:
            self._resume = asyncio.get_running_loop().call_later(seconds, self._resume_now)

    def _resume_now(self) -> None:
        self._resume = None
        self._pump()

    def received(self, command: int, body: bytes) -> None:
        """Handle a PUBACK, PUBREC or PUBCOMP; `resume` follows the last one of a read.

        Raises:
            MalformedPacket: it has no packet id, or the broker reads none of the answers.
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
            self._answer(_encode_answer(PUBREL, identifier))
            return
        if kind == PUBCOMP:
            self._handshakes.completed(identifier, awaited=entry is not None)
            code = 0  # all that it could say otherwise is that it has forgotten the id, and so has released the message
        if entry is None or (kind == PUBACK) != (entry[2] == 1):
            return
        del self._in_flight[identifier]
        if kind == PUBREC:
            self._handshakes.refused(identifier)
        entry[0].settle(entry[1], ANSWERS[code])

    def acknowledged(self, data: bytearray, at: int) -> int:
        """Handle the PUBACKs that begin at an offset, while they have one of their usual forms; return the offset behind them."""
        in_flight, end = self._in_flight, len(data)
        while at + 4 <= end and data[at] == PUBACK and (form := _PUBACKS.get(data[at + 1])) is not None:
            whole = min((end - at) // form.size, _AT_ONCE)
            if not whole:
                break
            length = data[at + 1]
            for command, size, identifier, *rest in form.iter_unpack(bytes(data[at : at + whole * form.size])):
                if command != PUBACK or size != length:
                    break
                at += form.size
                entry = in_flight.get(identifier)
                if entry is not None and entry[2] == 1:
                    del in_flight[identifier]
                    entry[0].settle(entry[1], ANSWERS[rest[0] if rest else 0])
        return at

    def resume(self) -> None:
        """Send what the window allows again, once for all answers of a read: each send is a system call, and a TLS record.

        Not later: a broker that waits for our TCP acknowledgement of its first answer, as mosquitto does, would stall. Where
        nothing is sent that carries it, it is asked for: two messages on an idle connection took 43 ms without that, and take 0.6.
        """
        if self._waiting:
            self._pump()
        elif self._in_flight:
            self._hasten()

    def end(self, error: Error) -> None:
        """Fail everything that is not answered."""
        self._lost = error
        if self._resume is not None:
            self._resume.cancel()
        for pending, index, _ in self._in_flight.values():
            pending.settle(index, error)
        for pending, index in self._written:
            pending.settle(index, error)
        for call in self._waiting:
            call.settle(error)
        self._in_flight.clear()
        self._waiting.clear()
        self._written.clear()

    def _begin(self, pending: Pending, index: int, qos: int, each: Publication, parts: list[bytes]) -> int:
        """Encode the first packet of a message, if it needs one; return its bytes."""
        handshakes, in_flight = self._handshakes, self._in_flight
        if qos == 1:
            identifier = handshakes.next_id(in_flight)
            in_flight[identifier] = (pending, index, 1)
            return self._encode(each, PUBLISH | 0x02, identifier.to_bytes(2), parts)
        if qos == 0:
            self._written.append((pending, index))
            return self._encode(each, PUBLISH, b"", parts)
        if handshakes.is_done(each.key):
            pending.settle(index, ANSWERS[0])
            return 0
        identifier, state = handshakes.begin(each.key, in_flight)
        in_flight[identifier] = (pending, index, 2)
        if state == "received":
            return 0  # what the broker has received was released when the connection was made
        return self._encode(each, PUBLISH | 0x04 | (0x08 if state == "sent" else 0), identifier.to_bytes(2), parts)

    def _encode(self, each: Publication, first: int, identifier: bytes, parts: list[bytes]) -> int:
        topic, properties = each.topic, each.properties
        if self._aliases is not None:
            topic, properties = self._aliases.apply(topic, properties)
        return put_publish(parts, first | each.retain, self._topics[topic], identifier + properties, each.payload)


def _encode_answer(command: int, identifier: int) -> bytes:
    return bytes((command, 2)) + identifier.to_bytes(2)
