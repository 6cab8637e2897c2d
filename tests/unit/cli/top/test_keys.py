"""Keys are what a terminal sends, however the bytes are cut."""

from __future__ import annotations

import pytest

from edgerouter.cli.top.keys import Keys

SEQUENCES = b"q\x1b[A\x1bOB\x1b[5~\r\x7f\xc3\xa9 "
KEYS = ["q", "up", "down", "page up", "enter", "backspace", "é", " "]


@pytest.mark.parametrize("size", range(1, len(SEQUENCES) + 1))
def test_keys_are_the_same_in_pieces_of_any_size(size: int) -> None:
    keys = Keys()
    pieces = [SEQUENCES[at : at + size] for at in range(0, len(SEQUENCES), size)]
    assert [key for piece in pieces for key in keys.feed(piece)] + keys.rest() == KEYS


def test_escape_alone_is_a_key_once_nothing_follows() -> None:
    keys = Keys()
    assert keys.feed(b"\x1b") == []
    assert keys.begun
    assert keys.rest() == ["escape"]
    assert not keys.begun


@pytest.mark.parametrize("data", [b"\x1b[1;5C", b"\x1b[<0;10;10M", b"\x1b[200~", b"\x00\x01\x1d", b"\x1bOq"])
def test_other_sequences_are_left_out(data: bytes) -> None:
    keys = Keys()
    assert keys.feed(data) + keys.rest() == []


@pytest.mark.parametrize("data", [b"\xff\xfe\x80", b"\x1b" * 1000, b"\x1b[" + b"1" * 100_000])
def test_any_bytes_are_some_keys_and_nothing_is_kept(data: bytes) -> None:
    keys = Keys()
    keys.feed(data)
    keys.rest()
    assert keys.feed(b"q") == ["q"]
