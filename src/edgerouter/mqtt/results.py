"""Outcome of a write from what became of its publications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgerouter.errors import Rejected, Unauthorized, Unavailable
from edgerouter.mqtt.publications import ANSWERS, Answer, Error, Publication, Result, Untried
from edgerouter.mqtt.reasons import NOT_AUTHORIZED, not_taken
from edgerouter.outcome import DELIVERED, Failure, Outcome

_TAKEN: Final = frozenset(id(answer) for answer in ANSWERS if not_taken(answer.code, "", "") is None)
"""Answers of messages that the broker has taken; there is one object for each code."""


def outcome(
    results: Sequence[Result],
    publications: Sequence[Publication],
    places: Sequence[int],
    where: str,
    failed: Sequence[Failure] = (),
) -> Outcome:
    """Return the outcome of one write.

    A refusal for want of permission is about the topic, and so `Rejected`, where the broker takes others of the write. A broker
    that disconnects because of a packet that is too large does not name it: of the messages without an answer, the largest is, and
    only that one is `Rejected`.

    Args:
        results: what `Link.publish` returned.
        publications: given to it.
        places: of their messages in the batch.
        where: the broker, for the operator.
        failed: messages of the batch that were not published.
    """
    if not failed and _TAKEN.issuperset(map(id, results)):
        return DELIVERED
    failures, untried = list(failed), []
    culprit = _largest(results, publications)
    forbidden = [isinstance(result, Answer) and result.code == NOT_AUTHORIZED for result in results]
    for place, publication, result in zip(places, publications, results, strict=True):
        if isinstance(result, Untried):
            untried.append(place)
            continue
        if not isinstance(result, Answer):
            failures.append(_unanswered(place, result, is_culprit=publication is culprit))
            continue
        error = not_taken(result.code, publication.topic, where) if result.code else None
        if isinstance(error, Unauthorized) and not all(forbidden):
            error = Rejected(str(error))
        if error is not None:
            failures.append(Failure(place, error))
    return Outcome(failures, untried)


def _largest(results: Sequence[Result], publications: Sequence[Publication]) -> Publication | None:
    """Return the largest message that failed with a connection that ended for a packet's size; `None` if it ended otherwise."""
    failed = [each for each, result in zip(publications, results, strict=True) if isinstance(result, Rejected)]
    return max(failed, key=lambda each: len(each.topic) + len(each.properties) + len(each.payload), default=None)


def _unanswered(place: int, error: Error, *, is_culprit: bool) -> Failure:
    if isinstance(error, Rejected) and not is_culprit:
        return Failure(place, Unavailable(str(error)), may_have_arrived=True)
    return Failure(place, error, may_have_arrived=True)
