"""The description is valid OpenAPI 3.1, made from the table of endpoints, and lists every one that TCP offers."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from edgerouter.admin.api.openapi import document
from edgerouter.admin.api.table import ENDPOINTS
from edgerouter.admin.api.tap import TapAsked
from edgerouter.admin.tap.preview import Tapped

PAGE = Path(__file__).parents[4] / "docs/reference/admin-api.md"


@pytest.fixture(scope="module")
def described() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(document(ENDPOINTS)))
    return found


def test_every_endpoint_but_those_of_the_owner_is_described(described: dict[str, Any]) -> None:
    listed = {(method.upper(), path) for path, methods in described["paths"].items() for method in methods}

    assert listed == {(each.method, f"/api/v1{each.path}") for each in ENDPOINTS if not each.only_owner}


def test_every_reference_leads_to_a_schema_and_every_schema_is_one(described: dict[str, Any]) -> None:
    schemas = described["components"]["schemas"]
    for schema in schemas.values():
        jsonschema.Draft202012Validator.check_schema(schema)
    for part in json.dumps(described).split('"$ref": "')[1:]:
        assert part.partition('"')[0].removeprefix("#/components/schemas/") in schemas


def test_what_changes_or_shows_payloads_needs_a_token_and_what_reads_may_do_without(described: dict[str, Any]) -> None:
    for path, methods in described["paths"].items():
        for method, operation in methods.items():
            free = method == "get" and path != "/api/v1/tap"
            assert operation["security"] == ([{"token": []}, {}] if free else [{"token": []}])


def test_the_reference_lists_every_endpoint_and_no_other() -> None:
    rows = re.findall(r"^\| `(GET|POST|PUT) (/\S+)` \|", PAGE.read_text(), re.MULTILINE)

    assert set(rows) == {(each.method, each.path) for each in ENDPOINTS if not each.only_owner}


def test_the_reference_lists_every_argument_and_every_field_of_the_tap() -> None:
    _, _, section = PAGE.read_text().partition("\n## Tap\n")
    rows = re.findall(r"^\| ((?:`\w+`(?:, )?)+) \|", section.partition("\n## ")[0], re.MULTILINE)

    listed = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert listed == {*TapAsked.__struct_fields__, *Tapped.__struct_fields__}
