"""Message groups of a FIFO queue: their ids, and requests that keep the order within each group."""

from __future__ import annotations

import re
from collections.abc import Sequence
from hashlib import sha256

from edgerouter import Message, SinkContext
from edgerouter.objects import KeyTemplate
from edgerouter_aws.sqs.queue import MOST_BATCH_BYTES, MOST_ENTRIES

_LEGAL = re.compile(r"[A-Za-z0-9!\"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~]{1,128}")
_MOST_CACHED = 10_000
_LONGEST_CACHED = 256
"""Characters of what a group is remembered by: a device may choose it."""


class Groups:
    """Ids of message groups, by a template."""

    def __init__(self, template: str, names: SinkContext) -> None:
        self._template = KeyTemplate.parse(template, unique=False)
        self._names = names
        self._ids: dict[str, str] = {}

    def id_of(self, message: Message) -> str:
        """The id of the message's group; what SQS would not take as an id becomes a digest of it."""
        partition = self._template.partition_of(message, self._names)
        known = self._ids.get(partition)
        if known is None:
            known = self._template.key_of([message], self._names)
            if _LEGAL.fullmatch(known) is None:
                known = sha256(known.encode()).hexdigest()
            if len(partition) <= _LONGEST_CACHED:
                if len(self._ids) >= _MOST_CACHED:
                    self._ids.clear()
                self._ids[partition] = known
        return known


def requests(groups: Sequence[str], sizes: Sequence[int], *, strict: bool) -> list[list[int]]:
    """Distribute messages over requests, as indexes; sent one after another, they keep the order within each group.

    With `strict`, a request holds at most one message of a group: when SQS takes a part of a request, it may be the later message
    of a group and not the earlier one.
    """
    plan: list[list[int]] = []
    filled: list[int] = []
    first_with_room = 0
    last_of_group: dict[str, int] = {}
    for place, (group, size) in enumerate(zip(groups, sizes, strict=True)):
        earliest = last_of_group.get(group, -1) + strict
        number = max(first_with_room, earliest, 0)
        while number < len(plan) and (len(plan[number]) >= MOST_ENTRIES or filled[number] + size > MOST_BATCH_BYTES):
            number += 1
        if number == len(plan):
            plan.append([])
            filled.append(0)
        plan[number].append(place)
        filled[number] += size
        last_of_group[group] = number
        while first_with_room < len(plan) and len(plan[first_with_room]) >= MOST_ENTRIES:
            first_with_room += 1
    return plan
