"""Every router computes the same fair assignment, and a change of members moves little."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from edgerouter_nats.spool.assignment import assigned, ledger_name

NAMES = st.lists(st.text(min_size=1, max_size=8), unique=True, min_size=1, max_size=9)


@given(NAMES, NAMES, st.integers(min_value=1, max_value=20))
def test_every_shard_has_one_router_and_no_router_has_more_than_its_share(
    routers: list[str], sinks: list[str], shards: int
) -> None:
    found = assigned(dict.fromkeys(routers, sinks), shards)
    assert found.keys() == {ledger_name(sink, shard, shards) for sink in sinks for shard in range(shards)}
    load = Counter(found.values())
    assert max(load.values()) <= -(-len(found) // len(routers))


@given(NAMES, st.randoms())
def test_the_order_in_which_routers_are_seen_does_not_matter(routers: list[str], random: object) -> None:
    members = dict.fromkeys(routers, ("a", "b"))
    assert assigned(members, 8) == assigned(dict(reversed(members.items())), 8)


def test_only_a_router_that_has_the_sink_drains_it() -> None:
    found = assigned({"one": ("a",), "two": ("a", "b"), "three": ("b",)}, 6)
    assert {router for name, router in found.items() if name.startswith("a")} <= {"one", "two"}
    assert {router for name, router in found.items() if name.startswith("b")} <= {"two", "three"}


def test_a_router_that_leaves_moves_little_of_what_the_others_drain() -> None:
    members = {f"router-{number}": ("sink",) for number in range(5)}
    before = assigned(members, 60)
    del members["router-2"]
    after = assigned(members, 60)
    moved = [name for name in before if before[name] != "router-2" and before[name] != after[name]]
    assert len(moved) <= 12
    assert max(Counter(after.values()).values()) == 15
