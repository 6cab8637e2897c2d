"""Named fields of a document are masked wherever a payload can hold them."""

from __future__ import annotations

import json

import pytest

from edgerouter.masking.fields import FieldMask, check_field


@pytest.mark.parametrize(
    ("fields", "payload", "shown"),
    [
        (["pin"], '{"pin": 4711, "t": 1}', {"pin": "***", "t": 1}),
        (["PIN"], '{"a": [{"Pin": {"deep": 1}}]}', {"a": [{"Pin": "***"}]}),
        (["/login/pin"], '{"login": {"pin": 1}, "pin": 2}', {"login": {"pin": "***"}, "pin": 2}),
        (["/a/1/x"], '{"a": [{"x": 1}, {"x": 2}]}', {"a": [{"x": 1}, {"x": "***"}]}),
        (["/a~1b/m~0n"], '{"a/b": {"m~n": 1}}', {"a/b": {"m~n": "***"}}),
        (["pin"], '{"p\\u0069n": 4711}', {"pin": "***"}),
        (["pin"], '{"log": "{\\"pin\\": 4711}"}', {"log": "***"}),
        (["pin"], '{"url": "http://x/?pin=4711"}', {"url": "***"}),
        (["pin"], '{"text": "pinned to the wall"}', {"text": "pinned to the wall"}),
        (["pin"], '{"a": {"pin": 1}, "a": 2}', {"a": 2}),
    ],
)
def test_values_of_named_fields_are_replaced(fields: list[str], payload: str, shown: object) -> None:
    masked = FieldMask(fields).masked(payload.encode())
    assert masked is not None
    assert json.loads(masked) == shown


@pytest.mark.parametrize(
    "payload",
    [
        b'{"pin": 47',
        b'{"t": 1}\n{"pin": 4711}',
        b"pin=4711&t=1",
        b'{"p\\u0069n": 47',
        b"\x08\x01\x12\x03PIN\x1a\x044711",
        '{"pin": 4711}'.encode("utf-16-le"),
        b'{"pin": 4711, "n": ' + b"9" * 6000 + b"}",
        b"[" * 100_000,
        b'{"n": 1e999, "pin": 1}',
    ],
)
def test_a_payload_that_is_not_a_document_and_may_hold_the_field_is_not_shown(payload: bytes) -> None:
    assert FieldMask(["pin"]).masked(payload) is None


def test_a_payload_that_is_not_a_document_and_has_no_such_name_is_shown_as_it_is() -> None:
    assert FieldMask(["pin"]).masked(b"21.5 C") == b"21.5 C"
    assert FieldMask([]).masked(b'{"pin": 1') == b'{"pin": 1'


def test_a_pointer_with_a_stray_tilde_is_refused_with_the_cure() -> None:
    with pytest.raises(ValueError, match="`~0`"):
        check_field("/a~b")
    assert check_field("a~b") == "a~b"
