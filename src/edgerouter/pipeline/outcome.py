"""Reading of a write's outcome: which messages are delivered, rejected, circling, or left to be written again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from edgerouter.errors import EdgerouterError, Rejected, Throttled, Unavailable, WouldLoop
from edgerouter.masking import mask
from edgerouter.message import Message
from edgerouter.outcome import Failure, Outcome

MOST_REASON_CHARACTERS = 2000
"""Longest text of an error that is kept."""


class Sorted(msgspec.Struct):
    """Messages of one write, by what becomes of them."""

    delivered: list[Message]
    rejected: list[tuple[Message, Rejected]] = msgspec.field(default_factory=list)
    circling: list[Message] = msgspec.field(default_factory=list)
    """Dropped and counted: the sink would send them back to where they came from."""
    left: list[Message] = msgspec.field(default_factory=list)
    """Written again, in their order: not taken this time, or not tried."""
    uncertain: bool = False
    """Some of `left` may have arrived."""
    cause: Unavailable | None = None
    """Reason to wait before `left` is written; `None` where nothing failed and the write made progress."""
    failed: bool = False
    """A message was not taken for another reason than circling."""
    receipts: Sequence[str] | str | None = None
    """Answer of the service for `delivered`."""


def sort_out(messages: list[Message], outcome: Any) -> Sorted:
    """Sort the messages of a write by its outcome.

    Raises:
        TypeError: the outcome is not one of the contract: a bug of the sink.
    """
    if not isinstance(outcome, Outcome):
        raise TypeError(f"write() returned {type(outcome).__name__}, not an Outcome")
    if not outcome.failed and not outcome.untried:
        return Sorted(messages, receipts=outcome.receipts)
    failed: dict[int, Failure] = {}
    for failure in outcome.failed:
        _check_place(failure.index, len(messages))
        if not isinstance(failure.error, Unavailable | Rejected):
            raise TypeError(f"write() returned a failure with {type(failure.error).__name__}, not one of the contract's errors")
        failed[failure.index] = failure
    untried = _untried(outcome.untried, failed, len(messages))
    delivered = [message for place, message in enumerate(messages) if place not in failed and place not in untried]
    found = Sorted(delivered, receipts=outcome.receipts)
    for place in sorted(failed.keys() | untried):
        if place in untried:
            found.left.append(messages[place])
        else:
            _add(found, messages[place], failed[place])
    if found.left and found.cause is None and len(found.left) == len(messages):
        found.cause = Unavailable("the sink tried none of the messages in the time of a write")
    return found


def _add(found: Sorted, message: Message, failure: Failure) -> None:
    error = failure.error
    found.failed |= not isinstance(error, WouldLoop)
    if isinstance(error, WouldLoop):
        found.circling.append(message)
    elif isinstance(error, Rejected):
        found.rejected.append((message, error))
    else:
        found.left.append(message)
        found.uncertain |= failure.may_have_arrived
        if found.cause is None or isinstance(error, Throttled):
            found.cause = error


def _untried(places: Sequence[int], failed: dict[int, Failure], count: int) -> set[int]:
    for place in places:
        _check_place(place, count)
        if place in failed:
            raise TypeError(f"write() returned message {place} as failed and as untried")
    return set(places)


def _check_place(place: Any, count: int) -> None:
    if not isinstance(place, int) or not 0 <= place < count:
        raise TypeError(f"write() returned a failure with index {place!r} for a batch of {count}")


def reason_of(error: EdgerouterError) -> str:
    """Text of an error, for status, log and dead letters; a service or a device may have made it long, and may quote a secret."""
    text = mask(str(error))
    return text if len(text) <= MOST_REASON_CHARACTERS else text[:MOST_REASON_CHARACTERS] + "..."
