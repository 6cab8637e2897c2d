"""Names of the stream, of its subjects and of the keys of its state."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final
from zlib import crc32

_PLAIN: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-")
_ESCAPED: Final = re.compile("((?:=[0-9a-f]{2})+)")


def escape(name: str) -> str:
    """Return a name as one token of a subject and of a key; `=xx` stands for each other byte of its UTF-8."""
    return "".join(char if char in _PLAIN else "".join(f"={byte:02x}" for byte in char.encode()) for char in name)


def unescape(token: str) -> str:
    """Return the name that `escape` was given."""
    return _ESCAPED.sub(lambda found: bytes.fromhex(found[1].replace("=", "")).decode("utf-8", "replace"), token)


def key_of(ledger: str) -> int:
    """Return the key that stands for a ledger in stored chunks, the same in every router; never 0."""
    return crc32(ledger.encode()) or 1


def sink_of(ledger: str) -> str:
    """Return the sink of a ledger, which is named after it, or `<sink>#<shard>`."""
    sink, _, shard = ledger.rpartition("#")
    return sink if sink and shard.isdigit() else ledger


def digest_of(filters: tuple[str, ...]) -> int:
    """Return a number for a set of topic filters: counts made with other filters have another one."""
    return crc32("\0".join(sorted(set(filters))).encode())


@dataclass(frozen=True, slots=True)
class Names:
    """Everything that is named after the stream."""

    stream: str

    @property
    def chunks(self) -> str:
        """The subjects of all routers' chunks."""
        return f"{self.stream}.chunks.*"

    def subject(self, router: str) -> str:
        """The subject of one router's chunks."""
        return f"{self.stream}.chunks.{escape(router)}"

    @property
    def appended(self) -> str:
        """The subject on which a router announces what it has stored; it is not part of the stream."""
        return f"{self.stream}.appended"

    @property
    def bucket(self) -> str:
        """The key-value bucket of positions, leases and routers."""
        return f"{self.stream}_STATE"

    @property
    def state(self) -> str:
        """The stream behind the bucket."""
        return f"KV_{self.bucket}"

    @property
    def dead_letters(self) -> str:
        """The stream of dead letters."""
        return f"{self.stream}_DEAD"

    def key(self, key: str) -> str:
        """The subject of a key of the bucket."""
        return f"$KV.{self.bucket}.{key}"

    def position_key(self, ledger: str) -> str:
        """The key of a sink's position, or of one shard of it."""
        return f"position.{escape(ledger)}"

    def lease_key(self, ledger: str) -> str:
        """The key of the lease of a sink, or of one shard of it."""
        return f"lease.{escape(ledger)}"

    def router_key(self, router: str) -> str:
        """The key of what a router says of itself."""
        return f"router.{escape(router)}"
