"""Messages on their way out keep to the window and to their order, and each is answered once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Literal

import pytest
from hypothesis import given, strategies

from edgerouter.errors import Unavailable
from edgerouter.mqtt.handshakes import Handshakes
from edgerouter.mqtt.outgoing import Outgoing
from edgerouter.mqtt.packets import PUBACK, PUBCOMP, PUBREC, PUBREL, MalformedPacket, PacketReader
from edgerouter.mqtt.publications import Answer, Publication

AGAIN = 0x08
"""Flag of a PUBLISH that was sent before."""


class Wire:
    """A socket that takes everything at once, unless it is `slow`."""

    def __init__(self, handshakes: Handshakes | None = None, *, window: int = 100, present: bool = False) -> None:
        self.sent: list[tuple[int, int, bytes]] = []
        """First byte, packet id and payload of each packet; the id is 0 for QoS 0."""
        self.slow = False
        self.hastened = 0
        """Times that TCP was asked to acknowledge at once."""
        self.outgoing = Outgoing(send=self.send, answer=self.send, hasten=self.hasten, handshakes=handshakes or Handshakes(100))
        self.outgoing.begin(window, session_present=present)

    def send(self, data: bytes) -> None:
        PacketReader(self.packet, largest=2**20).feed(data)
        if not self.slow:
            self.outgoing.written()

    def hasten(self) -> None:
        self.hastened += 1

    def packet(self, command: int, body: bytes) -> bool:
        at = 2 + int.from_bytes(body[:2]) if command & 0xF0 == 0x30 else 0
        length = 2 if command & 0xF6 != 0x30 else 0
        self.sent.append((command, int.from_bytes(body[at : at + length]), body[at + length :]))
        return True

    def answer(self, command: int, identifier: int, code: int | None = None) -> None:
        self.outgoing.received(command, identifier.to_bytes(2) + (b"" if code is None else bytes([code])))
        self.outgoing.resume()

    @property
    def payloads(self) -> list[bytes]:
        return [payload for command, _, payload in self.sent if command & 0xF0 == 0x30]


def publications(count: int) -> list[Publication]:
    return [Publication("t", b"%d" % number, retain=False, key=f"spool-{number}") for number in range(count)]


async def test_an_answer_is_acknowledged_at_once_while_others_are_awaited_and_nothing_is_sent() -> None:
    """The second answer of mosquitto waits until TCP acknowledges the first one, which the system would delay by 40 ms."""
    wire = Wire(window=2)
    wire.outgoing.publish(publications(3), 1)

    wire.answer(PUBACK, 1)
    assert wire.hastened == 0, "the third message carries the acknowledgement"
    wire.answer(PUBACK, 2)
    assert wire.hastened == 1
    wire.answer(PUBACK, 3)
    assert wire.hastened == 1, "nothing more is awaited"


async def test_no_more_than_the_window_is_in_flight_and_an_answer_opens_it_for_the_next() -> None:
    wire = Wire(window=2)

    pending = wire.outgoing.publish(publications(4), 1)

    assert wire.payloads == [b"0", b"1"]
    wire.answer(PUBACK, 1)
    assert wire.payloads == [b"0", b"1", b"2"]
    for identifier in (2, 3, 4):
        wire.answer(PUBACK, identifier)
    assert wire.payloads == [b"0", b"1", b"2", b"3"]
    assert pending.answers == [Answer(0)] * 4
    assert pending.done.done()


async def test_each_message_gets_the_reason_code_of_its_packet_id_in_whatever_order_they_come() -> None:
    """Codes that MQTT does not define are passed on: the MQTT client would end the connection for them."""
    wire = Wire()
    pending = wire.outgoing.publish(publications(3), 1)

    for identifier, code in ((3, 0x87), (1, 0x10), (2, 0x7F)):
        wire.answer(PUBACK, identifier, code)

    assert pending.answers == [Answer(0x10), Answer(0x7F), Answer(0x87)]


@pytest.mark.parametrize("qos", [0, 1, 2])
async def test_nothing_is_sent_while_the_socket_has_not_taken_what_came_before(qos: Literal[0, 1, 2]) -> None:
    """Otherwise all that a sink hands over would lie in memory, before a slow link."""
    wire = Wire()
    wire.slow = True
    wire.outgoing.publish([Publication("t", bytes(40_000), retain=False, key=str(number)) for number in range(10)], qos)

    assert len(wire.payloads) == 2, "one piece of 64 KiB, rounded up to a whole message"
    wire.outgoing.written()
    assert len(wire.payloads) == 4


async def test_a_message_of_qos_0_is_answered_when_the_socket_has_taken_it() -> None:
    wire = Wire(window=1)
    wire.slow = True

    pending = wire.outgoing.publish(publications(3), 0)

    assert (wire.payloads, pending.done.done()) == ([b"0", b"1", b"2"], False)
    wire.outgoing.written()
    assert pending.answers == [Answer(0)] * 3


async def test_a_message_of_qos_2_is_released_when_it_was_received_and_answered_when_that_is_complete() -> None:
    wire = Wire()
    pending = wire.outgoing.publish(publications(1), 2)

    wire.answer(PUBREC, 1)
    assert wire.sent[-1] == (PUBREL, 1, b"")
    assert not pending.done.done()

    wire.answer(PUBCOMP, 1)
    assert pending.answers == [Answer(0)]


async def test_an_unknown_packet_id_is_released_too_and_answers_nothing() -> None:
    """The broker would wait for the release for ever."""
    wire = Wire()
    pending = wire.outgoing.publish(publications(1), 2)

    wire.answer(PUBREC, 77)
    wire.answer(PUBCOMP, 77)

    assert wire.sent[-1] == (PUBREL, 77, b"")
    assert not pending.done.done()


async def test_a_message_of_qos_2_that_is_refused_is_not_released() -> None:
    wire = Wire()
    pending = wire.outgoing.publish(publications(1), 2)

    wire.answer(PUBREC, 1, 0x97)

    assert pending.answers == [Answer(0x97)]
    assert [command for command, _, _ in wire.sent] == [0x34]


async def test_an_answer_for_another_quality_of_service_is_not_the_answer() -> None:
    wire = Wire()
    once, twice = wire.outgoing.publish(publications(1), 1), wire.outgoing.publish(publications(1), 2)

    wire.answer(PUBCOMP, 1)
    wire.answer(PUBACK, 2)

    assert not once.done.done()
    assert not twice.done.done()


async def test_an_answer_without_a_packet_id_is_malformed() -> None:
    with pytest.raises(MalformedPacket, match="without a packet id"):
        Wire().outgoing.received(PUBACK, b"\x01")


async def test_the_end_fails_what_is_not_answered_and_what_is_published_afterwards() -> None:
    wire = Wire(window=2)
    gone = Unavailable("gone")
    pending = wire.outgoing.publish(publications(3), 1)
    wire.answer(PUBACK, 1)

    wire.outgoing.end(gone)

    assert pending.answers == [Answer(0), gone, gone]
    assert wire.outgoing.publish(publications(1), 1).answers == [gone]
    assert wire.payloads == [b"0", b"1", b"2"]


async def test_nothing_to_publish_is_done_at_once() -> None:
    assert Wire().outgoing.publish([], 1).done.done()


async def test_a_retry_of_qos_2_continues_what_another_connection_left_where_the_broker_keeps_the_session() -> None:
    """A received message is only released; one that was sent keeps its packet id, and has the flag of a repetition."""
    handshakes = Handshakes(100)
    first = Wire(handshakes)
    first.outgoing.publish(publications(2), 2)
    first.answer(PUBREC, 1)
    first.outgoing.end(Unavailable("gone"))

    second = Wire(handshakes, present=True)
    pending = second.outgoing.publish(publications(2), 2)

    assert second.sent == [(PUBREL, 1, b""), (0x34 | AGAIN, 2, b"1")]
    second.answer(PUBCOMP, 1)
    second.answer(PUBREC, 2)
    second.answer(PUBCOMP, 2)
    assert pending.answers == [Answer(0)] * 2


async def test_a_message_whose_handshake_ended_before_its_retry_is_not_published_again() -> None:
    handshakes = Handshakes(100)
    first = Wire(handshakes)
    first.outgoing.publish(publications(1), 2)
    first.answer(PUBREC, 1)
    first.outgoing.end(Unavailable("gone"))
    second = Wire(handshakes, present=True)
    second.answer(PUBCOMP, 1)

    pending = second.outgoing.publish(publications(1), 2)

    assert pending.answers == [Answer(0)]
    assert second.payloads == []


async def test_a_retry_of_qos_2_begins_anew_where_the_broker_has_forgotten_the_session() -> None:
    handshakes = Handshakes(100)
    first = Wire(handshakes)
    first.outgoing.publish(publications(1), 2)
    first.answer(PUBREC, 1)
    first.outgoing.end(Unavailable("gone"))

    second = Wire(handshakes, present=False)
    second.outgoing.publish(publications(1), 2)

    assert [(command, payload) for command, _, payload in second.sent] == [(0x34, b"0")]


@given(
    codes=strategies.lists(strategies.sampled_from([None, 0, 0x10, 0x87]), min_size=1, max_size=12),
    cuts=strategies.lists(strategies.integers(1, 9), max_size=30),
    data=strategies.data(),
)
def test_pubacks_are_read_alike_however_they_are_cut_and_whatever_their_form(
    codes: list[int | None], cuts: list[int], data: strategies.DataObject
) -> None:
    """Also those with properties, repeated ones, and ones for a packet id that is not in flight."""
    answers = [(number, code) for number, code in enumerate(codes, start=1)]
    asked = data.draw(strategies.permutations([*answers, (999, 0), answers[0]]))
    packets = b"".join(
        [_puback(number, code, data.draw(strategies.sampled_from([b"", b"\x00", b"\x01\x1f"]))) for number, code in asked]
    )

    async def run() -> None:
        wire = Wire()
        pending = wire.outgoing.publish(publications(len(codes)), 1)
        reader = PacketReader(_received_by(wire.outgoing), largest=100, on_pubacks=wire.outgoing.acknowledged)
        rest = packets
        for cut in cuts:
            reader.feed(rest[:cut])
            rest = rest[cut:]
        reader.feed(rest)
        assert pending.answers == [Answer(code or 0) for code in codes]
        assert pending.done.done()

    asyncio.run(run())


def _puback(identifier: int, code: int | None, properties: bytes) -> bytes:
    body = identifier.to_bytes(2) + (b"" if code is None else bytes([code]) + properties)
    return bytes([PUBACK, len(body)]) + body


def _received_by(outgoing: Outgoing) -> Callable[[int, bytes], bool]:
    def received(command: int, body: bytes) -> bool:
        outgoing.received(command, body)
        return True

    return received


async def test_a_puback_of_bulk_does_not_end_a_handshake_of_qos_2() -> None:
    wire = Wire()
    pending = wire.outgoing.publish(publications(1), 2)
    assert wire.outgoing.acknowledged(bytearray(_puback(1, None, b"")), 0) == 4
    assert not pending.done.done()
