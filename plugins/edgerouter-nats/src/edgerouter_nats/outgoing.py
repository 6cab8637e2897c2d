"""Messages as operations of the protocol, for the sinks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Final, NamedTuple

from edgerouter import Failure, Message, Rejected, Unauthorized
from edgerouter_nats.client import BoundedClient
from edgerouter_nats.headers import Headers
from edgerouter_nats.subjects import SubjectTemplate

_PIECE_BYTES: Final = 256 * 1024
"""Bytes to write before waiting until the socket has taken them."""
_PUBLISH: Final = re.compile(r'publish (?:with reply of ".*" )?to "(.*)"', re.IGNORECASE | re.DOTALL)
_MOST_REFUSED: Final = 10_000


class Posted(NamedTuple):
    """One message ready to be sent."""

    place: int
    """Its place in the batch."""
    subject: str
    headers: bytes
    payload: bytes


def prepare(
    batch: Sequence[Message], subjects: SubjectTemplate, headers: Headers, max_payload: int
) -> tuple[list[Posted], list[Failure]]:
    """Make messages ready, and return those that NATS takes and the failures of those that it never does."""
    posted, failures = [], []
    for place, message in enumerate(batch):
        try:
            ready = Posted(place, subjects.of(message), headers.of(message), message.payload)
            if len(ready.headers) + len(ready.payload) > max_payload:
                raise Rejected(f"larger than the {max_payload} bytes that the server takes (max_payload)")  # noqa: TRY301
            posted.append(ready)
        except Rejected as error:
            failures.append(Failure(place, error))
    return posted, failures


async def post(client: BoundedClient, messages: Sequence[Posted], replies: Sequence[str] = ()) -> None:
    """Write messages, with the address for the answer of each.

    Raises:
        ConnectionClosedError: the connection is gone.
    """
    for piece in _pieces(messages, replies):
        client.post(piece)
        await client.drained()


def _pieces(messages: Sequence[Posted], replies: Sequence[str]) -> Iterator[bytes]:
    parts: list[bytes] = []
    size = 0
    for number, (_, subject, headers, payload) in enumerate(messages):
        reply = f"{replies[number]} " if replies else ""
        length = len(headers)
        line = f"HPUB {subject} {reply}{length} {length + len(payload)}\r\n".encode()
        parts += (line, headers, payload, b"\r\n")
        size += length + len(payload)
        if size >= _PIECE_BYTES:
            yield b"".join(parts)
            parts, size = [], 0
    if parts:
        yield b"".join(parts)


@contextmanager
def refusals(client: BoundedClient, heard: Callable[[str], None] = lambda _: None) -> Iterator[dict[str, str]]:
    """Gather subjects that the server refuses meanwhile, with its text; `heard` is called for each."""
    found: dict[str, str] = {}

    def refused(text: str) -> None:
        if (match := _PUBLISH.search(text)) is not None and len(found) < _MOST_REFUSED:
            subject = match[1].replace('\\"', '"').replace("\\\\", "\\")
            found[subject] = text
            heard(subject)

    client.refused.append(refused)
    try:
        yield found
    finally:
        client.refused.remove(refused)


def refused_of(posted: Sequence[Posted], refused: dict[str, str]) -> list[Failure]:
    """Return the failures of messages whose subjects were refused."""
    if not refused:
        return []
    error = Unauthorized(f"{next(iter(refused.values()))}: grant it to this user")
    return [Failure(each.place, error) for each in posted if each.subject in refused]
