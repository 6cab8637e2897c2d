"""Shortcuts for the usual case, members at the top of a document, give to the byte what the general way gives.

Covers: edgerouter.steps.filter, edgerouter.steps.fields, edgerouter.steps.convert, edgerouter.steps.window, edgerouter.steps.shape.
"""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from edgerouter.pipeline.shaping.chain import FOR_EVER, Chain
from support.steps import chain, message

HOSTILE = (
    b"",
    b"1,2",
    b"[3",
    b"4]",
    b'{"v":1}\n{"v":2}',
    b'{\n "v": 1.50\n}\n',
    b" 1 ",
    b'"a\nb"',
    b"NaN",
    b"-Infinity",
    b"1e999",
    b'{"v":1e999}',
    b'{"v":1,"v":2}',
    b'\xef\xbb\xbf{"v":1}',
    b'"\\ud800"',
    b'{"v":"\\udc00"}',
    b'{"v":' + b"9" * 400 + b"}",
    b"9" * 5000,
    b"[" * 3000,
    b"[" * 500 + b"]" * 500,
    b'"\xff"',
    b'{"v":"\xed\xa0\x80"}',
    b"\x00",
    b'"},{"',
    b'","payload":1}',
    '{"v":"\u00fc\u2028\U0001f600"}'.encode(),
)
"""Payloads that are not JSON, nearly so, or JSON that not every parser reads alike."""
NUMBERS = st.one_of(
    st.floats(allow_nan=False, allow_infinity=False),
    st.integers(),
    st.sampled_from([0, -0.0, 1e300, -1e300, 1e301, 10**300, 10**301, 1.7976931348623157e308, 2**63, 2**64, 5e-324]),
)
VALUES = st.one_of(
    NUMBERS, st.booleans(), st.none(), st.sampled_from(["", "21.5", " 7 ", "on", "1e999", "\u00fc"]), st.just([]), st.just({})
)
ON_ERROR = st.sampled_from(["pass", "drop", "dead_letter"])
PAYLOADS = st.one_of(
    st.sampled_from(HOSTILE),
    st.binary(max_size=20),
    st.text(alphabet='{}[]",:0 \n\\u1.e-', max_size=12).map(str.encode),
    VALUES.map(lambda value: json.dumps({"v": value}).encode()),
)


def sent(steps: Chain, payloads: list[bytes]) -> tuple[list[bytes], list[str], dict[str, dict[str, int]]]:
    """Return what the steps make of payloads in one list: payloads, reasons of the rejected, and counters."""
    stored = [message(payload, number, at=number / 7) for number, payload in enumerate(payloads, start=1)]
    found = steps.apply(stored)
    items = [*found.items, *steps.flush(FOR_EVER).items]
    return [item.message.payload for item in items], [reason for _, reason in found.rejected], steps.counted


def enveloped(payload: bytes, number: int) -> bytes:
    """Return the envelope of a message, written from the reference: strict JSON as it is, else a text, else base64."""
    at = 1_700_000_000_000_000 + int(number / 7 * 1_000_000_000) // 1000
    name = "payload"
    try:
        text = payload.decode()
        msgspec.json.decode(payload, type=msgspec.Raw)
    except UnicodeDecodeError:
        name, text = "payload_base64", json.dumps(base64.b64encode(payload).decode())
    except (msgspec.DecodeError, RecursionError):
        text = msgspec.json.encode(payload.decode()).decode()
    moment = f"2023-11-14T22:13:{20 + (at // 1_000_000 - 1_700_000_000):02d}.{at % 1_000_000:06d}Z"
    return f'{{"topic":"plant/m1/temp","time":"{moment}","id":"spool-{number}","{name}":{text}}}'.encode()


@given(st.lists(PAYLOADS, max_size=12))
@example(list(HOSTILE))
def test_an_envelope_holds_any_payload_to_the_byte_whether_or_not_a_step_has_read_it(payloads: list[bytes]) -> None:
    """A payload that an earlier step has decoded is not checked again: its envelope is the same."""
    expected = [enveloped(payload, number) for number, payload in enumerate(payloads, start=1)]
    reads = {"type": "filter", "fields": [{"field": "absent", "exists": False}]}
    assert sent(chain({"type": "envelope"}), payloads)[0] == expected
    assert sent(chain(reads, {"type": "envelope"}), payloads)[0] == expected


def test_an_envelope_names_the_spool_and_the_part_of_each_message() -> None:
    """Messages of several spools in one list, as after a change of the spool, keep their ids."""
    stored = [msgspec.structs.replace(message([1, 2], n), spool=spool) for n, spool in enumerate(("a", "b", "a"), start=1)]
    items = chain({"type": "split"}, {"type": "envelope"}).apply(stored).items
    assert [json.loads(item.message.payload)["id"] for item in items] == ["a-1.1", "a-1.2", "b-2.1", "b-2.2", "a-3.1", "a-3.2"]


@pytest.mark.parametrize("name", ["above", "at_least", "below", "at_most"])
@given(
    payloads=st.lists(PAYLOADS, max_size=8), bound=st.sampled_from([0, -1.5, 1e300, 21.5]), invert=st.booleans(), on_error=ON_ERROR
)
@example(payloads=list(HOSTILE), bound=0, invert=True, on_error="dead_letter")
@example(payloads=[b"{}", b'{"v":null}', b"[1]", b'{"v":true}'], bound=0, invert=True, on_error="drop")
def test_one_bound_decides_as_it_does_among_other_comparisons(
    name: str, payloads: list[bytes], bound: float, invert: bool, on_error: str
) -> None:
    """A single bound of a member at the top is compared in the loop; with `exists` beside it each comparison is called."""
    step = {"type": "filter", "invert": invert, "on_error": on_error}
    results = [sent(chain({**step, "fields": [{"field": "v", name: bound, **more}]}), payloads) for more in ({}, {"exists": True})]
    assert results[0] == results[1]


@given(payloads=st.lists(PAYLOADS, max_size=8), on_error=ON_ERROR)
@example(payloads=list(HOSTILE), on_error="pass")
def test_members_at_the_top_are_picked_as_beside_one_further_down(payloads: list[bytes], on_error: str) -> None:
    """Members at the top are picked in the loop; a path that leads deeper makes all of them take the general way."""
    results = [
        sent(chain({"type": "pick", "on_error": on_error, "fields": fields}), payloads)
        for fields in (["absent", "v"], ["absent", "v", "absent.v"])
    ]
    assert results[0] == results[1]


CONVERSIONS = (
    {"from_unit": "celsius", "to_unit": "fahrenheit"},
    {"scale": 1e10, "offset": -3},
    {"scale": 3, "round": 1},
    {"offset": 0.5, "round": 0},
    {"round": 0},
    {"type": "number", "scale": 0.5},
    {"type": "integer", "scale": 0.5},
    {"type": "number"},
    {"type": "text"},
    {"type": "boolean"},
)


DOCUMENTS = st.fixed_dictionaries({}, optional={"v": VALUES, "w": VALUES, "x": VALUES})


@pytest.mark.parametrize("conversion", CONVERSIONS)
@given(documents=st.lists(DOCUMENTS, max_size=8), on_error=ON_ERROR)
@example(documents=[{"v": value} for value in (1e308, -1e308, 10**400, 1.5, 7, "x")], on_error="pass")
@example(documents=[{}, {"x": 1}, {"v": 1, "w": "x"}, {"v": "x", "w": 1}, {"w": 2.5}], on_error="pass")
def test_members_at_the_top_are_converted_as_those_further_down(
    conversion: dict[str, Any], documents: list[dict[str, Any]], on_error: str
) -> None:
    """Numbers at the top are computed in the loop; results and refusals are those of nested ones, and nothing is done by halves."""
    tops = [json.dumps(document, separators=(",", ":")).encode() for document in documents]
    step = {"type": "convert", "on_error": on_error}
    at_top = {**step, "fields": [{"field": name, **conversion} for name in "vw"]}
    nested = {**step, "fields": [{"field": f"a.{name}", **conversion} for name in "vw"]}
    made, rejected, counted = sent(chain(at_top), tops)
    payloads, reasons, counts = sent(chain(nested), [b'{"a":' + top + b"}" for top in tops])
    assert (payloads, reasons, counts) == ([b'{"a":' + top + b"}" for top in made], rejected, counted)


def test_a_member_that_is_converted_twice_is_converted_one_after_the_other() -> None:
    """The second conversion of a member gets the result of the first."""
    fields = [{"field": "v", "scale": 2}, {"field": "v", "offset": 1}]
    assert sent(chain({"type": "convert", "fields": fields}), [b'{"v":1.5}'])[0] == [b'{"v":4.0}']


@given(payloads=st.lists(PAYLOADS, max_size=12))
@example(payloads=list(HOSTILE))
def test_a_window_of_one_member_holds_the_numbers_of_a_window_of_several(payloads: list[bytes]) -> None:
    """A number at the top of the document is taken without a call; among several members it is read the general way."""
    step = {"type": "window", "every": "1h", "functions": ["count", "sum", "min", "max", "first", "last", "p50"]}
    results = [sent(chain({**step, "fields": fields}), payloads) for fields in (["v"], ["v", "absent"])]
    assert results[0] == results[1]


@given(values=st.lists(VALUES, max_size=12))
@example(values=[1.5, 2, True, 1e301, 10**301, "1", None])
def test_a_window_of_bare_numbers_holds_those_of_a_window_of_a_member(values: list[Any]) -> None:
    """A payload that is a number is taken as one that stands at the top of a document, and what is refused is refused in both."""
    functions = ["count", "sum", "min", "max", "first", "last", "p50"]
    bare = chain({"type": "window", "every": "1h", "functions": functions, "on_error": "drop"})
    member = chain({"type": "window", "every": "1h", "functions": functions, "on_error": "drop", "fields": ["v"]})
    texts = [json.dumps(value).encode() for value in values]
    made, _, counted = sent(bare, texts)
    expected, _, counts = sent(member, [b'{"v":' + text + b"}" for text in texts])
    assert counted == counts
    assert [json.loads(each) for each in made] == [
        {**{name: value for name, value in document.items() if name != "v"}, **document["v"]}
        for document in map(json.loads, expected)
    ]
