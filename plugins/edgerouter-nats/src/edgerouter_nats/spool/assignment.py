"""Assignment of shards to routers: every router computes the same one from the same members."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from hashlib import blake2b


def ledger_name(sink: str, shard: int, shards: int) -> str:
    """Return the name of the ledger of one shard of a sink."""
    return sink if shards == 1 else f"{sink}#{shard}"


def assigned(members: Mapping[str, Iterable[str]], shards: int) -> dict[str, str]:
    """Return the router of each shard, by the name of its ledger.

    Each shard ranks the routers by a hash, and takes the first that has not its share yet. So a router that comes or goes moves
    little more than what it drains.

    Args:
        members: the sinks of each living router, by its name.
        shards: of each sink.
    """
    able: dict[str, list[str]] = {}
    for router, sinks in sorted(members.items()):
        for sink in sinks:
            able.setdefault(sink, []).append(router)
    load: Counter[str] = Counter()
    share = -(-len(able) * shards // max(1, len(members)))
    result = {}
    for sink in sorted(able):
        for shard in range(shards):
            name = ledger_name(sink, shard, shards)
            ranked = sorted(able[sink], key=lambda router: _rank(name, router))
            free = [router for router in ranked if load[router] < share]
            chosen = free[0] if free else min(ranked, key=lambda router: load[router])
            load[chosen] += 1
            result[name] = chosen
    return result


def _rank(ledger: str, router: str) -> bytes:
    return blake2b(f"{ledger}\0{router}".encode(), digest_size=8).digest()
