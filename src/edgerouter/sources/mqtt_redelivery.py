"""Tells a message that the broker sends again from a new one, so that what is stored already is acknowledged and not stored twice.

A broker sends again, in the original order and before anything new, what was not acknowledged when the connection ended (MQTT 5.0,
4.4 and 4.6). Two tables say what that may be: what this process still holds, and what the spool holds of an earlier run. Whatever
is in doubt is stored: a duplicate is allowed, a loss is not.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from edgerouter.message import Message
from edgerouter.source import Delivery
from edgerouter.sources.mqtt_intake import PUBACK, PUBREC, Batch, Intake
from edgerouter.sources.mqtt_state import TOKEN_BYTES, SessionState

_VERSION: Final = b"\x01"
_HEADER: Final = 1 + TOKEN_BYTES + 1
_ACK: Final = 4
_IDS: Final = 65_535
"""Packet ids run from 1 to this and start again."""


class Redelivery:
    """Follows one session over connections and restarts.

    Args:
        state: the session; the caller keeps it over restarts.
        intake: what this process has received and not acknowledged.
        unacknowledged: what the spool holds of an earlier run, oldest first.
        changed: called when `state` has to be kept again.
    """

    def __init__(
        self, state: SessionState, intake: Intake, unacknowledged: Sequence[Delivery], changed: Callable[[], None]
    ) -> None:
        self.watching = False
        self.recognised = 0
        """Messages acknowledged and not stored again."""
        self._state = state
        self._intake = intake
        self._changed = changed
        self._session_began = 0
        self._held: dict[bytes, tuple[Batch, Message]] = {}
        self._unsent: dict[bytes, Message] = {}
        """Stored, but the answer was never sent, as the connection it belongs to was gone."""
        self._earlier: deque[tuple[bytes, Message]] = deque()
        self._aligned = False
        self._unreleased: set[bytes] = set()
        """QoS 2: answers sent whose PUBREL has not come; such a packet id is not used for another message."""
        self._last_id: tuple[int, int] | None = None
        if not state.ids_reused:
            self._earlier.extend(_entries_of_receipts(unacknowledged, bytes.fromhex(state.token)))

    def connected(self, *, session_present: bool) -> None:
        """A connection is made; the broker says whether it still knows the session."""
        self._last_id = None
        self._held.clear()
        self._aligned = False
        if session_present:
            for batch in self._intake.waiting():
                if batch.connection >= self._session_began:
                    self._held.update((ack, (batch, message)) for ack, message in _entries(batch))
        else:
            self._session_began = self._intake.connection
            self._earlier.clear()
            self._unsent.clear()
            self._unreleased.clear()
            self._state.ids_reused = False
            self._state.subscriptions = []
            self._renew_token()
        self.watching = bool(self._held or self._unsent or self._earlier)

    def is_known(self, message: Message, ack: bytes, *, again: bool) -> bool:
        """Whether the message is stored, or will be; then its acknowledgement is taken care of."""
        if not again:
            # sent for the first time, so there is nothing more to come of what was sent before
            self._forget()
            self._unreleased.discard(ack)
            return False
        known = ack in self._unreleased or self._is_unsent(message, ack) or self._is_of_an_earlier_run(message, ack)
        if known:
            self.answered(ack)
            self._intake.queue(ack)
        else:
            known = self._is_held(message, ack)
        self.recognised += known
        if not self._held and not self._unsent and not self._earlier:
            self._forget()
        return known

    def settled(self, batch: Batch, acks: bytes) -> None:
        """A batch is safe, and these answers are sent for it."""
        self.answered(acks)
        if len(acks) < len(batch.acks) and batch.connection >= self._session_began:
            sent = set(_split(acks))
            self._unsent.update((ack, message) for ack, message in _entries(batch) if ack not in sent)

    def answered(self, acks: bytes | bytearray) -> None:
        """These answers are sent: remember those of QoS 2 until the broker releases their packet ids."""
        if PUBREC[0] in acks[::_ACK]:
            self._unreleased.update(ack for ack in _split(acks) if ack[0] == PUBREC[0])

    def released(self, identifier: bytes) -> None:
        """The broker is done with a message of QoS 2."""
        self._unreleased.discard(PUBREC + identifier)

    def receipt(self, batch: Batch) -> bytes:
        """What to keep beside a batch, so that its messages are known again after a crash."""
        if batch.connection < self._session_began:
            return b""
        acks = batch.acks
        if batch.unstored:
            acks = bytearray().join(acks[at : at + _ACK] for at in range(0, len(acks), _ACK) if at not in set(batch.unstored))
        self._watch_ids(batch)
        kinds = bytes(acks[::_ACK])
        uniform = kinds.count(PUBACK[0]) == len(kinds)
        header = _VERSION + bytes.fromhex(self._state.token) + (b"\x00" if uniform else b"\x01")
        return header + bytes(acks[2::_ACK]) + bytes(acks[3::_ACK]) + (b"" if uniform else kinds)

    def _watch_ids(self, batch: Batch) -> None:
        """A broker that uses an acknowledged packet id again at once makes a receipt ambiguous: then none of them counts."""
        first, last = int.from_bytes(batch.acks[2:4]), int.from_bytes(batch.acks[-2:])
        if self._last_id is not None and self._last_id[0] == batch.connection and not self._state.ids_reused:
            step = (first - self._last_id[1]) % _IDS
            if not 0 < step < _IDS // 2:
                self._state.ids_reused = True
                self._changed()
        self._last_id = (batch.connection, last)

    def _is_of_an_earlier_run(self, message: Message, ack: bytes) -> bool:
        earlier = self._earlier
        while earlier:
            known_ack, known = earlier.popleft()
            if known_ack == ack and _is_same(message, known):
                self._aligned = True
                return True
            if self._aligned:
                # the order broke: from here on it is not what we think it is
                earlier.clear()
        return False

    def _is_unsent(self, message: Message, ack: bytes) -> bool:
        known = self._unsent.pop(ack, None)
        if known is None or not _is_same(message, known):
            return False
        self._held.pop(ack, None)
        return True

    def _is_held(self, message: Message, ack: bytes) -> bool:
        batch, known = self._held.pop(ack, (None, message))
        if batch is None or not _is_same(message, known):
            return False
        if batch.done:
            self.answered(ack)
            self._intake.queue(ack)
        elif batch.again[0] == self._intake.connection:
            batch.again[1].extend(ack)
        else:
            batch.again = (self._intake.connection, bytearray(ack))
        return True

    def _forget(self) -> None:
        self.watching = False
        self._held.clear()
        self._unsent.clear()
        if self._aligned or self._earlier:
            # the spool's deliveries of the earlier run are acknowledged, or will never be: their receipts are void from now on
            self._earlier.clear()
            self._aligned = False
            self._renew_token()

    def _renew_token(self) -> None:
        self._state.token = secrets.token_hex(TOKEN_BYTES)
        self._changed()


def _is_same(message: Message, known: Message) -> bool:
    return message.payload == known.payload and message.topic == known.topic


def _split(acks: bytes | bytearray) -> Iterator[bytes]:
    return (bytes(acks[at : at + _ACK]) for at in range(0, len(acks), _ACK))


def _entries(batch: Batch) -> Iterator[tuple[bytes, Message]]:
    acks = (ack for at, ack in zip(range(0, len(batch.acks), _ACK), _split(batch.acks), strict=True) if at not in batch.unstored)
    return zip(acks, (message for message in batch.messages if message.qos), strict=True)


def _entries_of_receipts(deliveries: Sequence[Delivery], token: bytes) -> Iterator[tuple[bytes, Message]]:
    for delivery in deliveries:
        receipt = delivery.receipt
        messages = [message for message in delivery.messages if message.qos]
        count = len(messages)
        uniform = receipt[_HEADER - 1 : _HEADER] == b"\x00"
        if receipt[: _HEADER - 1] != _VERSION + token or len(receipt) != _HEADER + count * (2 if uniform else 3):
            continue
        ids = receipt[_HEADER:]
        for at, message in enumerate(messages):
            ack = PUBACK if uniform or ids[2 * count + at] == PUBACK[0] else PUBREC
            yield ack + bytes((ids[at], ids[count + at])), message
