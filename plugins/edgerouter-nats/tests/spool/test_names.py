"""Names are valid in subjects and keys, and never collide.

Covers also: edgerouter_nats.spool.sequences.
"""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from edgerouter.spool.log.chunk import MAX_MESSAGES
from edgerouter_nats.spool.names import Names, digest_of, escape, key_of, sink_of, unescape
from edgerouter_nats.spool.sequences import SLOTS, chunk_of, first_of


@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])))
def test_a_name_comes_back_from_its_token_and_the_token_is_valid_in_a_subject_and_in_a_key(name: str) -> None:
    token = escape(name)
    assert re.fullmatch(r"[-=\w]*", token, re.ASCII)
    assert unescape(token) == name


def test_names_with_dots_and_wildcards_share_no_key() -> None:
    names = Names("S")
    keys = {names.position_key(name) for name in ("a.b", "a_b", "a=2eb", "a*b", "a>b", "a b", "a#1", "a")}
    assert len(keys) == 8


def test_a_shard_belongs_to_its_sink() -> None:
    assert sink_of("cloud#12") == "cloud"
    assert sink_of("cloud") == "cloud"
    assert sink_of("#1") == "#1"
    assert sink_of("cloud#blue") == "cloud#blue"


def test_every_router_finds_the_same_key_and_the_same_digest() -> None:
    assert key_of("cloud") == key_of("cloud") != key_of("cloud#1")
    assert digest_of(("a", "b")) == digest_of(("b", "a", "a")) != digest_of(("a",))


def test_a_chunk_has_more_sequences_than_messages_and_the_next_begins_behind_them() -> None:
    assert SLOTS > MAX_MESSAGES
    assert chunk_of(first_of(7) + MAX_MESSAGES - 1) == 7
    assert first_of(7) + SLOTS == first_of(8)
