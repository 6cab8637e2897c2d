"""Topic filters follow the MQTT specification."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter.topics import MAX_BYTES, Matcher, check_filter, matches, split_share


@pytest.mark.parametrize(
    "text",
    ["#", "+", "/", "a", "a/b", "a/#", "+/a/#", "a//b", "/+", "$SYS/#", "$share/g/#", "$share/g/a/+", "$share/g//a", "ä/ö", "a b"],
)
def test_a_filter_of_the_specification_is_taken_as_it_is(text: str) -> None:
    assert check_filter(text) == text


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not empty"),
        ("a\0b", "NUL"),
        ("a/#/b", "last level"),
        ("#/", "last level"),
        ("a#", "occupy a whole level"),
        ("a/b+", "occupy a whole level"),
        ("++", "occupy a whole level"),
        ("\ud800", "surrogates"),
        ("x" * (MAX_BYTES + 1), "at most 65535 bytes"),
        ("ä" * (MAX_BYTES // 2 + 1), "at most 65535 bytes"),
        ("$share", "$share/GROUP/FILTER"),
        ("$share/g", "$share/GROUP/FILTER"),
        ("$share//a", "$share/GROUP/FILTER"),
        ("$share/g/", "$share/GROUP/FILTER"),
        ("$share/+/a", "no wildcards"),
        ("$share/g/a#", "occupy a whole level"),
    ],
)
def test_what_a_broker_would_refuse_is_refused_with_its_reason(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason.replace("$", r"\$")):
        check_filter(text)


@pytest.mark.parametrize(
    ("topic_filter", "topic", "expected"),
    [
        ("sport/tennis/player1/#", "sport/tennis/player1", True),
        ("sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", True),
        ("sport/tennis/player1/#", "sport/tennis/player10", False),
        ("sport/#", "sport", True),
        ("#", "anything/at/all", True),
        ("#", "/", True),
        ("sport/tennis/+", "sport/tennis/player1", True),
        ("sport/tennis/+", "sport/tennis/player1/ranking", False),
        ("sport/+", "sport", False),
        ("sport/+", "sport/", True),
        ("+/+", "/finance", True),
        ("/+", "/finance", True),
        ("+", "/finance", False),
        ("+/#", "a", True),
        ("a/+/c/#", "a/b/c", True),
        ("#", "$SYS/broker", False),
        ("+/monitor/Clients", "$SYS/monitor/Clients", False),
        ("+/#", "$SYS", False),
        ("$SYS/#", "$SYS/broker/load", True),
        ("$SYS/#", "$SYS", True),
        ("$SYS/monitor/+", "$SYS/monitor/Clients", True),
        ("$share/group/a/+", "a/b", True),
        ("$share/group/#", "$SYS/x", False),
        ("$share/group/#", "a", True),
        ("a.c", "abc", False),
        ("ACCOUNTS", "Accounts", False),
        ("a/#", "a/line\nbreak", True),
        ("+", "line\nbreak", True),
    ],
)
def test_a_filter_matches_what_the_specification_says(topic_filter: str, topic: str, expected: bool) -> None:
    assert matches(topic_filter, topic) is expected
    assert Matcher([topic_filter])(topic) is expected


def test_the_group_of_a_shared_subscription_is_separated_from_its_filter() -> None:
    assert split_share("$share/readers/a/b/#") == ("readers", "a/b/#")
    assert split_share("a/b/#") == (None, "a/b/#")


def test_a_matcher_of_several_filters_matches_what_any_of_them_matches() -> None:
    matcher = Matcher(["a/+", "b/#", "c|d"])
    assert [matcher(topic) for topic in ("a/1", "a/1/2", "b", "b/1/2", "c", "c|d")] == [True, False, True, True, False, True]
    assert not Matcher([])("a")


_levels = st.lists(st.text(st.sampled_from("ab$ "), max_size=2), min_size=1, max_size=4)


def _by_the_book(topic_filter: list[str], topic: list[str]) -> bool:
    """Apply the specification's rules, level by level."""
    if topic[0].startswith("$") and topic_filter[0] in ("#", "+"):
        return False
    for place, level in enumerate(topic_filter):
        if level == "#":
            return True
        if place >= len(topic) or level not in ("+", topic[place]):
            return False
    return len(topic) == len(topic_filter)


@given(st.lists(st.sampled_from(["", "a", "b", "+", "$"]), min_size=1, max_size=4), st.booleans(), _levels)
def test_matching_agrees_with_a_level_by_level_reading(levels: list[str], open_end: bool, topic: list[str]) -> None:
    topic_filter = [*levels, "#"] if open_end else levels
    assert matches("/".join(topic_filter), "/".join(topic)) is _by_the_book(topic_filter, topic)
