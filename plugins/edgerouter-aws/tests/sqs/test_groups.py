"""Message groups of the sink aws-sqs: legal ids, bounded memory, and order in requests within their limits."""

from __future__ import annotations

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from edgerouter.testing import make_context, make_message
from edgerouter_aws.sqs.groups import Groups, requests


def test_long_group_ids_are_not_remembered() -> None:
    groups = Groups("{topic}", make_context())
    tracemalloc.start()
    for number in range(8000):
        groups.id_of(make_message(topic=f"{number}/" + "\N{ROMAN NUMERAL ONE}" * 900))
    held = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert held < 6 * 1024**2  # the key template also caches short topics


@given(
    st.lists(st.tuples(st.sampled_from("abcdefghijklmnop"), st.integers(1, 600_000)), max_size=60),
    st.booleans(),
)
@settings(deadline=None)
def test_requests_keep_order_and_limits(messages: list[tuple[str, int]], strict: bool) -> None:
    """Every message once, each group in order, at most 10 entries and 1 MiB, and strictly one of a group in each request."""
    groups, sizes = [group for group, _ in messages], [size for _, size in messages]
    plan = requests(groups, sizes, strict=strict)
    assert sorted(place for request in plan for place in request) == list(range(len(messages)))
    sent = [place for request in plan for place in request]
    for group in set(groups):
        of_group = [place for place in sent if groups[place] == group]
        assert of_group == sorted(of_group)
    for request in plan:
        assert 1 <= len(request) <= 10
        assert sum(sizes[place] for place in request) <= 1024 * 1024
        if strict:
            assert len({groups[place] for place in request}) == len(request)
