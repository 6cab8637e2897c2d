"""Outcome of a write from what became of its publications."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from edgerouter.errors import Rejected, Unauthorized
from edgerouter.mqtt.publications import ANSWERS, Answer, Publication, Result, Untried
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

    A refusal for want of permission is about the topic, and so `Rejected`, where the broker takes others of the write.

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
    forbidden = [isinstance(result, Answer) and result.code == NOT_AUTHORIZED for result in results]
    for place, publication, result in zip(places, publications, results, strict=True):
        if isinstance(result, Untried):
            untried.append(place)
            continue
        if not isinstance(result, Answer):
            failures.append(Failure(place, result, may_have_arrived=True))
            continue
        error = not_taken(result.code, publication.topic, where) if result.code else None
        if isinstance(error, Unauthorized) and not all(forbidden):
            error = Rejected(str(error))
        if error is not None:
            failures.append(Failure(place, error))
    return Outcome(failures, untried)
