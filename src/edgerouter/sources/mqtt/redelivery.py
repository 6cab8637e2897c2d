"""Distinguishes resent messages from new ones, so that stored messages are acknowledged and not stored twice.

A broker resends, in the original order and before anything new, the messages not acknowledged when the connection ended (MQTT 5.0,
4.4 and 4.6). Two tables hold the candidates: messages that this process still holds, and those that the spool holds of an earlier
run. In doubt a message is stored: a duplicate is allowed, a loss is not.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.sources.mqtt.in_flight import PUBREC, Batch, InFlight
from edgerouter.sources.mqtt.receipt import entries, entries_of_receipts, receipt_of, split
from edgerouter.sources.mqtt.retries import Retries
from edgerouter.sources.mqtt.state import TOKEN_BYTES, SessionState

_ACK: Final = 4
_IDS: Final = 65_535
"""Packet ids run from 1 to this and start again."""


class Redelivery:
    """Follows one session across connections and restarts.

    Args:
        state: the session; the caller keeps it across restarts.
        in_flight: messages that this process has received and not acknowledged, or acknowledged and not seen confirmed.
        unacknowledged: deliveries that the spool holds of an earlier run, oldest first.
        changed: called when `state` must be saved.
    """

    def __init__(
        self, state: SessionState, in_flight: InFlight, unacknowledged: Sequence[Delivery], changed: Callable[[], None]
    ) -> None:
        self.watching = False
        self.recognised = 0
        """Messages acknowledged and not stored again."""
        self._state = state
        self._in_flight = in_flight
        self._retries = Retries(in_flight)
        self._changed = changed
        self._session_began = 0
        self._held: dict[bytes, tuple[Batch, Message]] = {}
        self._earlier: deque[tuple[bytes, Message]] = deque()
        """Messages of an earlier run that may still arrive on this connection, in order."""
        self._aligned = False
        self._unreleased: dict[bytes, int] = {}
        """QoS 2: answers sent whose PUBREL has not arrived, with a hash of the message; such a packet id is in use."""
        self._last_id: tuple[int, int] | None = None
        self._newest_id: int | None = None
        """Packet id received last, on any connection."""
        self._stored_earlier = [] if state.ids_reused else entries_of_receipts(unacknowledged, bytes.fromhex(state.token))
        """The same for every connection of this run, until the broker has provably read their acknowledgements."""
        self._earlier_run = _of_earlier_run(unacknowledged, self._stored_earlier)
        if self._stored_earlier:
            self._newest_id = int.from_bytes(self._stored_earlier[-1][0][2:])
        elif self._earlier_run is not None:
            # these receipts are invalid
            self._earlier_run.confirmation.confirm()
            self._earlier_run = None

    def connected(self, *, session_present: bool) -> None:
        """Record a new connection and whether the broker still has the session."""
        self._last_id = None
        self._held.clear()
        self._earlier.clear()
        self._aligned = False
        if session_present:
            if not self._state.ids_reused:
                # the broker may resend them on this connection for the second time: the first was lost with their acknowledgements
                self._earlier.extend(self._stored_earlier)
            for batch in (*self._in_flight.unconfirmed.former(), *self._in_flight.waiting()):
                # an acknowledgement that was sent may have freed its packet id
                if batch.connection >= self._session_began and not (batch.answered and self._state.ids_reused):
                    self._held.update((ack, (batch, message)) for ack, message in entries(batch))
        else:
            self._session_began = self._in_flight.connection
            self._stored_earlier.clear()
            self._unreleased.clear()
            self._state.ids_reused = False
            self._state.subscriptions = []
            self._renew_token()
            self._resolve()
            self._in_flight.unconfirmed.confirm()
        self.watching = bool(self._held or self._earlier or self._earlier_run or any(self._in_flight.unconfirmed.former()))

    def is_known(self, message: Message, ack: bytes, *, again: bool) -> bool:
        """Return True if the message is stored, or will be; its acknowledgement is then arranged."""
        if not again:
            # sent for the first time, so everything sent before has been resent
            if self.watching:
                self._forget(first=int.from_bytes(ack[2:]))
            self._unreleased.pop(ack, None)
            return False
        waiting = self._retries.find(ack) if ack not in self._held else None
        if waiting is not None and _is_same(message, waiting):
            self.recognised += 1
            return True
        known = self._is_unreleased(message, ack) or self._is_of_an_earlier_run(message, ack)
        if known:
            self._answered([(ack, message)])
            self._in_flight.queue(ack)
        else:
            known = self._is_held(message, ack)
        self.recognised += known
        if not known:
            # messages are resent in their original order, so all known ones have arrived, or will not
            self._resolve()
        if self.watching and not self._held and not self._earlier:
            self._forget()
        return known

    def settled(self, batch: Batch, acks: bytes) -> None:
        """Record that a batch is stored, and the answers sent for it."""
        if PUBREC[0] in acks[::_ACK]:
            answered = entries(batch)
            if len(acks) < len(batch.acks):
                sent = set(split(acks))
                answered = (entry for entry in answered if entry[0] in sent)
            self._answered(answered)

    @property
    def awaits_release(self) -> bool:
        """True while the broker has not released every message of QoS 2 that was answered."""
        return len(self._unreleased) > 0

    def released(self, packets: Iterable[bytes]) -> None:
        """Record PUBRELs of four bytes: the broker has released these messages of QoS 2."""
        for packet in packets:
            self._unreleased.pop(PUBREC + packet[2:], None)

    def receipt(self, batch: Batch) -> bytes:
        """Build the receipt to store with a batch, so that its messages are recognised after a crash."""
        if batch.connection < self._session_began:
            return b""
        self._watch_ids(batch)
        return receipt_of(batch, bytes.fromhex(self._state.token), ids_reused=self._state.ids_reused)

    def _watch_ids(self, batch: Batch) -> None:
        """Detect a broker that reuses an acknowledged packet id at once: it makes receipts ambiguous, so none of them counts."""
        first, last = int.from_bytes(batch.acks[2:4]), int.from_bytes(batch.acks[-2:])
        connection, before = self._last_id or (0, 0)
        if connection == batch.connection and not self._state.ids_reused and not _follows(first, before):
            self._state.ids_reused = True
            self._changed()
        self._last_id = (batch.connection, last)
        self._newest_id = last

    def _answered(self, answered: Iterable[tuple[bytes, Message]]) -> None:
        """Remember answered messages of QoS 2 until the broker releases their packet ids."""
        self._unreleased.update((ack, _content(message)) for ack, message in answered if ack[0] == PUBREC[0])

    def _is_unreleased(self, message: Message, ack: bytes) -> bool:
        # a broker may renumber messages that it sends on a resumed session
        return self._unreleased.get(ack) == _content(message) if ack in self._unreleased else False

    def _is_of_an_earlier_run(self, message: Message, ack: bytes) -> bool:
        earlier = self._earlier
        while earlier:
            known_ack, known = earlier.popleft()
            if known_ack == ack and _is_same(message, known):
                self._aligned = True
                return True
            if self._aligned:
                # the order is broken: the rest cannot be matched
                earlier.clear()
        return False

    def _is_held(self, message: Message, ack: bytes) -> bool:
        batch, known = self._held.pop(ack, (None, message))
        if batch is None or not _is_same(message, known):
            return False
        if batch.done:
            self._answered([(ack, message)])
            self._in_flight.queue(ack)
        elif batch.again[0] == self._in_flight.connection:
            batch.again[1].extend(ack)
        else:
            batch.again = (self._in_flight.connection, bytearray(ack))
        return True

    def _forget(self, first: int | None = None) -> None:
        """Forget all candidates: nothing more is resent; the first new message has this packet id."""
        self.watching = False
        self._held.clear()
        self._earlier.clear()
        self._aligned = False
        self._resolve()
        if first is not None and self._newest_id is not None and not _follows(first, self._newest_id):
            # packet ids are reused: a new message must not be mistaken for one remembered by its id
            self._in_flight.unconfirmed.confirm()

    def _resolve(self) -> None:
        """Resolve former connections: everything that the broker wanted acknowledged again has been, or is unknown."""
        unconfirmed = self._in_flight.unconfirmed
        if self._earlier_run is not None:
            unconfirmed.add(self._earlier_run, answered=False)
            self._earlier_run = None
        unconfirmed.resolve()

    def _renew_token(self) -> None:
        self._state.token = secrets.token_hex(TOKEN_BYTES)
        self._changed()


def _is_same(message: Message, known: Message) -> bool:
    return message.payload == known.payload and message.topic == known.topic


def _content(message: Message) -> int:
    return hash((message.topic, message.payload))


def _follows(identifier: int, last: int) -> bool:
    return 0 < (identifier - last) % _IDS < _IDS // 2


def _of_earlier_run(unacknowledged: Sequence[Delivery], entries: list[tuple[bytes, Message]]) -> Batch | None:
    """Join the deliveries of an earlier run to one batch; its confirmation confirms each of them and clears their `entries`."""
    confirmations = [delivery.confirmation for delivery in unacknowledged if delivery.confirmation is not None]
    if not confirmations:
        return None

    def confirm() -> None:
        entries.clear()
        for confirmation in confirmations:
            confirmation.confirm()

    batch = Batch(0)
    batch.done = True
    batch.received = sum(message.qos > 0 for delivery in unacknowledged for message in delivery.messages)
    batch.size = sum(len(message.payload) for delivery in unacknowledged for message in delivery.messages)
    batch.confirmation.when_confirmed(confirm)
    return batch
