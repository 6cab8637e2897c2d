"""Idempotency keys: recognises a request that was stored before, also by a run that ended between commit and answer."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Final, NamedTuple

from edgerouter.http_server.problems import Problem
from edgerouter.source import Delivery

KEY_HEADER: Final = "Idempotency-Key"
_MOST_CHARACTERS: Final = 255
_KEY_BYTES: Final = 16
_CONTENT_BYTES: Final = 8


class Repeat(NamedTuple):
    """Digests of a request with a key."""

    key: bytes
    """Of client and key."""
    content: bytes
    """Of topic and body: a key stands for one request."""

    @property
    def receipt(self) -> bytes:
        """Bytes to keep beside the messages."""
        return self.key + self.content


class Repeats:
    """Keys of stored requests, the newest ones, and of those that wait for their commit.

    Args:
        most: most keys remembered.
        unacknowledged: deliveries of an earlier run, with receipts.
    """

    def __init__(self, most: int, unacknowledged: Iterable[Delivery]) -> None:
        self._most = most
        self._stored: dict[bytes, bytes] = {}
        self._waiting: dict[bytes, bytes] = {}
        for delivery in unacknowledged:
            self.stored(list(_of_receipt(delivery.receipt)))

    def look_up(self, client: str, key: str, topic: str, body: bytes) -> tuple[Repeat, bool]:
        """Return the digests of a request, and true if it is stored already.

        Raises:
            Problem: the key is too long, stands for another request, or for one that waits for its commit.
        """
        if not 0 < len(key) <= _MOST_CHARACTERS:
            raise Problem(400, f"an {KEY_HEADER} has 1 to {_MOST_CHARACTERS} characters")
        repeat = Repeat(_digest(_KEY_BYTES, client, key), _digest(_CONTENT_BYTES, topic, body))
        for known in (self._stored, self._waiting):
            if known.get(repeat.key, repeat.content) != repeat.content:
                raise Problem(422, f"this {KEY_HEADER} was sent with another topic or body: a new request needs a new key")
        if repeat.key in self._waiting:
            raise Problem(503, "the request is being stored: send it again to learn the result", retry_after=1)
        return repeat, repeat.key in self._stored

    def waits(self, repeat: Repeat) -> None:
        """Note a request that is not stored yet."""
        self._waiting[repeat.key] = repeat.content

    def stored(self, repeats: Iterable[Repeat]) -> None:
        """Remember requests that are stored."""
        for repeat in repeats:
            self._waiting.pop(repeat.key, None)
            self._stored[repeat.key] = repeat.content
        while len(self._stored) > self._most:
            del self._stored[next(iter(self._stored))]


def _of_receipt(receipt: bytes) -> Iterable[Repeat]:
    for at in range(0, len(receipt), _KEY_BYTES + _CONTENT_BYTES):
        yield Repeat(receipt[at : at + _KEY_BYTES], receipt[at + _KEY_BYTES : at + _KEY_BYTES + _CONTENT_BYTES])


def _digest(size: int, name: str, content: str | bytes) -> bytes:
    """Digest of a pair; the length of the name keeps two pairs apart whose parts are joined alike."""
    first = name.encode(errors="surrogateescape")
    second = content.encode(errors="surrogateescape") if isinstance(content, str) else content
    return hashlib.blake2b(len(first).to_bytes(4) + first + second, digest_size=size).digest()
