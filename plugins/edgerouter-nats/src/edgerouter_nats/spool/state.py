"""The state that routers share, in a key-value bucket: each key is written by compare-and-set on its revision."""

from __future__ import annotations

from typing import Final

from edgerouter import Throttled
from edgerouter_nats.spool.api import EXPECTED_LAST, NO_ROOM, WRONG_LAST, Api, ApiError, Stored
from edgerouter_nats.spool.names import Names

_EXISTS: Final = 0


class Stale(Exception):
    """The key has been written by another process since it was read."""


class State:
    """The bucket.

    Args:
        api: of JetStream.
        names: of its stream.
    """

    def __init__(self, api: Api, names: Names) -> None:
        self._api = api
        self._names = names

    async def read(self, key: str) -> tuple[bytes, int] | None:
        """Return a value and its revision, as the leader has it; `None` where there is none."""
        found = await self._api.last(self._names.state, self._names.key(key))
        return None if found is None or found.deleted else (found.data, found.sequence)

    async def write(self, key: str, value: bytes, revision: int = _EXISTS) -> int:
        """Write a value if its key has this revision, and return the new one.

        Args:
            key: to write.
            value: new value.
            revision: 0 = the key must not be there.

        Raises:
            Stale: it has another one.
            Unavailable: nothing answered, and it may be written; or there is no room for it.
        """
        try:
            return await self._publish(key, value, revision)
        except Stale:
            found = await self._api.last(self._names.state, self._names.key(key)) if revision == _EXISTS else None
            if found is None or not found.deleted:
                raise
        # an operator has deleted it, which leaves a mark
        return await self._publish(key, value, found.sequence)

    async def _publish(self, key: str, value: bytes, revision: int) -> int:
        try:
            return await self._api.publish(self._names.key(key), value, {EXPECTED_LAST: str(revision)})
        except ApiError as error:
            if error.code in WRONG_LAST:
                raise Stale(key) from None
            if error.code in NO_ROOM:
                raise Throttled(f"{error}: positions and leases need room: free some, or raise the account's limits") from None
            raise

    async def delete(self, key: str) -> None:
        """Delete a key with its history."""
        await self._api.purge(self._names.state, subject=self._names.key(key))

    async def all(self, *prefixes: str) -> list[Stored]:
        """Return what stands under all keys that begin with one of these, as some replica has it."""
        found = await self._api.latest(self._names.state, [self._names.key(f"{prefix}.>") for prefix in prefixes])
        skip = len(self._names.key(""))
        return [Stored(each.subject[skip:], each.sequence, each.data) for each in found]
