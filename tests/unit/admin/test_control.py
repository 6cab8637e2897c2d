"""No payload of a dead letter makes a command fail that shows dead letters."""

import json

import msgspec
import pytest

from edgerouter import Message
from edgerouter.admin.control import letter_as_json
from edgerouter.spool.operator import DeadLetter


def letter(payload: bytes, when: int = 1_700_000_000 * 10**9) -> DeadLetter:
    return DeadLetter(
        number=1, sink="s", message=Message("t", payload, 1_700_000_000 * 10**9, spool="spool", sequence=1), reason="no", error="E",
        attempts=1, first_attempt=when, last_attempt=when, config_digest="",
    )  # fmt: skip


POISONS = {
    "a number beyond a float": b"1e999",
    "and below": b'{"a": [-1e400]}',
    "an integer of 5,000 digits": b"7" * 5000,
    "one of 5,000 digits inside": b'{"a": ' + b"7" * 5000 + b"}",
    "an integer of 100 digits": b"7" * 100,
    "900 arrays in each other": b"[" * 900 + b"]" * 900,
    "100,000 arrays in each other": b"[" * 100_000 + b"]" * 100_000,
    "half a surrogate pair": rb'"\ud800"',
    "an escaped NUL": rb'"\u0000"',
    "no text": b"\xff\xfe",
    "nothing": b"",
    "not a number": b"NaN",
}


@pytest.mark.parametrize("name", POISONS)
def test_any_payload_is_shown_and_its_text_is_kept(name: str) -> None:
    payload = POISONS[name]
    shown = letter_as_json(letter(payload))
    # as the answer travels: written by msgspec, read by json, printed by json
    travelled = json.loads(msgspec.json.encode({"dead_letters": [shown]}))
    printed = json.loads(json.dumps(travelled, allow_nan=False))["dead_letters"][0]["message"]["payload"]
    if isinstance(printed, str) and name not in ("half a surrogate pair", "an escaped NUL"):
        assert printed.encode() == payload


def test_a_letter_of_a_clock_that_had_gone_wrong_is_shown() -> None:
    assert letter_as_json(letter(b"x", 2**63 - 1)).last_attempt
    assert letter_as_json(letter(b"x", -(2**62))).last_attempt
    assert letter_as_json(letter(b"x", 10**24)).last_attempt.endswith("ns")
