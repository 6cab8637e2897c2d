"""The step `validate` lets through what a JSON Schema allows.

Covers: edgerouter.steps.validate.
"""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from edgerouter import plugins
from support.steps import chain, message

SCHEMA = {
    "type": "object",
    "required": ["device"],
    "properties": {"device": {"type": "string"}, "engine": {"properties": {"rpm": {"type": "number", "maximum": 9000}}}},
}


def refused(payload: Any, **config: Any) -> tuple[list[str], dict[str, int]]:
    """Return the reasons of dead letters, and the counts."""
    steps = chain({"type": "validate", "schema": SCHEMA, **config})
    found = steps.apply([message(payload)])
    assert len(found.items) + len(found.rejected) + len(found.filtered) == 1
    return [reason for _, reason in found.rejected], steps.counted.get("1:validate", {})


def test_what_the_schema_allows_goes_on_as_it_is() -> None:
    stored = message(b'{ "device": "m1", "engine": {"rpm": 1.50} }')
    found = chain({"type": "validate", "schema": SCHEMA}).apply([stored])
    assert [item.message for item in found.items] == [stored]


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (
            {"device": "m1", "engine": {"rpm": "secret"}},
            'schema: engine.rpm: the value is not of type "number" (rule properties/engine/properties/rpm/type)',
        ),
        ({}, 'schema: the payload: "device" is a required property (rule required)'),
        ([], 'schema: the payload: the value is not of type "object" (rule type)'),
        ([[0] * 20_000, 0], "too large: the document has more than 20000 values"),
    ],
)
def test_the_dead_letter_names_the_path_and_the_rule_and_no_value(payload: Any, reason: str) -> None:
    assert refused(payload) == ([f"step 1:validate: {reason}"], {reason.partition(":")[0]: 1})


def test_a_payload_that_is_not_json_goes_to_the_dead_letters_too() -> None:
    (reason,), counts = refused(b"\xff")
    assert reason.startswith("step 1:validate: not JSON")
    assert counts == {"not JSON": 1}


@pytest.mark.parametrize("on_error", ["pass", "drop"])
def test_on_error_may_say_otherwise(on_error: str) -> None:
    assert refused({}, on_error=on_error) == ([], {"schema": 1})


def test_a_schema_may_stand_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "reading.json"
    file.write_text(json.dumps(SCHEMA))
    steps = chain({"type": "validate", "schema_file": str(file)})
    assert len(steps.apply([message({"device": "m1"}), message({})]).items) == 1


@pytest.mark.parametrize(
    ("config", "error"),
    [
        ({}, "either `schema` or `schema_file`"),
        ({"schema": {"type": "nonsense"}}, "`schema` is not a JSON Schema that can be used: .*, at type"),
        ({"schema": {"pattern": "(?=a)"}}, "not a .regex"),
        ({"schema_file": "/no/such/file"}, "`schema_file` /no/such/file: No such file"),
        ({"schema_file": "/dev/zero"}, "`schema_file` /dev/zero has more than"),
        ({"schema_file": __file__}, "is not JSON"),
    ],
)
def test_a_schema_that_cannot_be_used_stops_the_start(config: dict[str, Any], error: str) -> None:
    with pytest.raises(ValidationError, match=error):
        plugins.find("step", "validate").Config(**config)


def test_no_schema_is_ever_fetched() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.05)
        reference = f"http://127.0.0.1:{server.getsockname()[1]}/schema.json"
        with pytest.raises(ValidationError, match=r"a schema is never fetched; put .* under `\$defs`"):
            plugins.find("step", "validate").Config(schema={"$ref": reference})
        with pytest.raises(TimeoutError):
            server.accept()
    with pytest.raises(ValidationError, match="never fetched"):
        plugins.find("step", "validate").Config(schema={"$ref": "file:///etc/hostname"})


def test_a_pattern_is_searched_in_linear_time() -> None:
    steps = chain({"type": "validate", "schema": {"pattern": "^(a+)+$"}})
    begin = time.process_time()
    assert not steps.apply([message("a" * 100_000 + "!")]).items
    assert time.process_time() - begin < 1
