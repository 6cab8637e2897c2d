"""Messages that a source holds between their arrival and the spool's commit.

Covers also: edgerouter.receiving.leases.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from edgerouter import Confirmation, Delivery, Message, Unavailable
from edgerouter.receiving import Inbox, Leased
from edgerouter.receiving.leases import Leases, receipt_of


def messages(*payloads: bytes) -> list[Message]:
    return [Message("t", payload, 1) for payload in payloads]


class Held:
    """An inbox, and what it told."""

    def __init__(self, max_messages: int = 10, max_bytes: int = 1_000_000) -> None:
        self.acknowledged: list[Sequence[str]] = []
        self.flushed = 0
        self.inbox: Inbox[str] = Inbox(max_messages, max_bytes, acknowledged=self.acknowledged.append, flush_now=self.flush_now)

    def flush_now(self) -> None:
        self.flushed += 1


async def test_what_came_in_since_the_last_delivery_is_one_delivery() -> None:
    held = Held()
    held.inbox.put(messages(b"1"), ["a"])
    held.inbox.put(messages(b"2", b"3"), ["b"])
    delivery = await anext(held.inbox.deliveries())
    assert [message.payload for message in delivery.messages] == [b"1", b"2", b"3"]
    assert held.acknowledged == []
    delivery.acknowledge()
    assert held.acknowledged == [["a", "b"]]
    assert (held.inbox.messages, held.inbox.bytes) == (0, 0)


@pytest.mark.parametrize(("max_messages", "max_bytes"), [(2, 1_000_000), (10, 500)])
async def test_who_reserves_waits_until_there_is_room_and_asks_for_a_commit(max_messages: int, max_bytes: int) -> None:
    held = Held(max_messages, max_bytes)
    held.inbox.put(messages(b"1", b"2"), ["a"])
    waiting = asyncio.ensure_future(held.inbox.reserve(1))
    await asyncio.sleep(0)
    assert (waiting.done(), held.flushed) == (False, 1)
    (await anext(held.inbox.deliveries())).acknowledge()
    await asyncio.wait_for(waiting, 1)


async def test_a_request_larger_than_all_the_room_is_let_in_alone() -> None:
    held = Held(max_messages=5)
    await asyncio.wait_for(held.inbox.reserve(10), 1)
    second = asyncio.ensure_future(held.inbox.reserve(1))
    await asyncio.sleep(0)
    assert not second.done()
    held.inbox.release(10)
    await asyncio.wait_for(second, 1)


async def test_a_failure_is_raised_after_what_had_come_in() -> None:
    held = Held()
    held.inbox.put(messages(b"1"), ["a"])
    held.inbox.fail(Unavailable("gone"))
    deliveries = held.inbox.deliveries()
    assert len((await anext(deliveries)).messages) == 1
    with pytest.raises(Unavailable, match="gone"):
        await anext(deliveries)


def leased(identity: str, handle: str, *, stored: bool = True) -> Leased:
    return Leased(identity, handle, messages(b"x")[0] if stored else None)


def test_what_is_handed_out_again_is_not_new_and_is_acknowledged_by_its_newest_handle() -> None:
    leases = Leases(())
    assert leases.take([leased("m", "h1")], 1.0) == ([leased("m", "h1")], [])
    assert leases.take([leased("m", "h2")], 2.0) == ([], [])
    leases.stored(["m"])
    assert leases.take([leased("m", "h3")], 3.0) == ([], ["m"])
    leases.done("m", "h2")
    assert leases.handle("m") == "h3"
    leases.done("m", "h3")
    assert (leases.handle("m"), len(leases)) == (None, 0)


def test_what_an_earlier_run_has_stored_is_known_by_its_receipt() -> None:
    leases = Leases([Delivery((), lambda: None, receipt_of(["a", "b"]))])
    fresh, again = leases.take([leased("a", "1"), leased("c", "2")], 1.0)
    assert ([each.id for each in fresh], again) == (["c"], ["a"])


def test_a_receipt_is_confirmed_once_the_service_has_accepted_the_acknowledgement_of_each_message() -> None:
    leases = Leases(())
    leases.take([leased("a", "1"), leased("b", "2")], 1.0)
    confirmation = leases.confirmation(["a", "b"])
    leases.stored(["a", "b"])
    leases.done("a", "1")
    assert not confirmation.confirmed
    leases.done("b", "2")
    assert confirmation.confirmed


def test_an_earlier_receipt_is_confirmed_once_its_messages_came_again_and_were_acknowledged() -> None:
    confirmation = Confirmation()
    leases = Leases([Delivery((), lambda: None, receipt_of(["a", "b"]), confirmation)])
    leases.take([leased("a", "1"), leased("b", "2")], 1.0)
    leases.done("a", "1")
    assert not confirmation.confirmed
    leases.done("b", "2")
    assert confirmation.confirmed


def test_an_earlier_receipt_whose_messages_do_not_come_again_is_released_and_still_recognised() -> None:
    confirmation = Confirmation()
    leases = Leases([Delivery((), lambda: None, receipt_of(["a"]), confirmation)])
    leases.confirm_earlier()
    assert confirmation.confirmed
    assert leases.take([leased("a", "1")], 1.0) == ([], ["a"])


def test_what_is_not_to_be_stored_is_acknowledged_at_once() -> None:
    assert Leases(()).take([leased("own", "1", stored=False)], 1.0) == ([], ["own"])


def test_only_what_waits_for_its_commit_is_extended() -> None:
    leases = Leases(())
    leases.take([leased("a", "1"), leased("b", "2")], 10.0)
    leases.stored(["a"])
    assert leases.ending(11.0) == [("b", "2")]
    leases.extended([("b", "2")], 70.0)
    assert leases.ending(11.0) == []
