"""CBOR becomes JSON documents; what is damaged or made to cost much is refused. Examples are those of RFC 8949, appendix A."""

from __future__ import annotations

from typing import Any

import pytest

from edgerouter import BadInput
from edgerouter.steps.cbor import MOST_ITEMS, MOST_NESTED, decode, is_map


@pytest.mark.parametrize(
    ("data", "document"),
    [
        ("00", 0),
        ("17", 23),
        ("1818", 24),
        ("1903e8", 1000),
        ("1bffffffffffffffff", 18446744073709551615),
        ("3903e7", -1000),
        ("f93c00", 1.0),
        ("f97bff", 65504.0),
        ("fa47c35000", 100000.0),
        ("fb3ff199999999999a", 1.1),
        ("f4", False),
        ("f5", True),
        ("f6", None),
        ("f7", None),
        ("c11a514b67b0", 1363896240),
        ("4401020304", "AQIDBA=="),
        ("62c3bc", "ü"),
        ("80", []),
        ("8301820203820405", [1, [2, 3], [4, 5]]),
        ("a26161016162820203", {"a": 1, "b": [2, 3]}),
        ("5f42010243030405ff", "AQIDBAU="),
        ("7f657374726561646d696e67ff", "streaming"),
        ("9f018202039f0405ffff", [1, [2, 3], [4, 5]]),
        ("bf6346756ef563416d7421ff", {"Fun": True, "Amt": -2}),
    ],
)
def test_each_kind_of_item_becomes_its_json(data: str, document: Any) -> None:
    assert decode(bytes.fromhex(data)) == document


@pytest.mark.parametrize(
    "data",
    [
        "",
        "19",
        "4401",
        "8201",
        "a161",
        "a161ff",
        "bf6161ff",
        "82ff",
        "ff",
        "0000",
        "1c",
        "1f",
        "df00",
        "a10102",
        "62c328",
        "f97c00",
        "f97e00",
        "f818",
        "5f4101",
        "5f6161ff",
        "9bffffffffffffffff",
        "5bffffffffffffffff",
        "bbffffffffffffffff",
        "d8",
    ],
)
def test_what_is_damaged_or_not_json_is_refused(data: str) -> None:
    with pytest.raises(BadInput, match="not CBOR"):
        decode(bytes.fromhex(data))


def test_items_and_levels_are_bounded() -> None:
    """A payload of brackets would hold the event loop, or exhaust the stack."""
    assert len(decode(b"\x9f" + bytes(MOST_ITEMS - 2) + b"\xff")) == MOST_ITEMS - 2
    with pytest.raises(BadInput, match="too large"):
        decode(b"\x9f" + bytes(MOST_ITEMS) + b"\xff")
    decode(b"\x81" * MOST_NESTED + b"\x00")
    for opening in (b"\x81", b"\x9f", b"\xc1", b"\xa1a\x61", b"\xbf\x61a"):
        with pytest.raises(BadInput):
            decode(opening * 100_000)


def test_every_part_of_a_document_that_was_cut_off_is_refused() -> None:
    whole = bytes.fromhex("a3616144010203046162bf6163fb3ff199999999999aff616482187b820304")
    assert decode(whole) == {"a": "AQIDBA==", "b": {"c": 1.1}, "d": [123, [3, 4]]}
    for end in range(len(whole)):
        with pytest.raises(BadInput, match="cut off"):
            decode(whole[:end])


def test_no_text_begins_as_a_map_does() -> None:
    assert is_map(b"\xa0")
    assert is_map(b"\xbf\xff")
    assert not any(is_map(text.encode()) for text in ('{"a": 1}', "[1]", "ü", "21.5", "", "\x00", "𝄞"))
