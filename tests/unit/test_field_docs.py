"""Models that a router makes without the docstrings of their fields take the same configurations as those with them."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

_SCHEMA = """
import json, sys
from edgerouter.field_docs import FieldDocs
FieldDocs.wanted = sys.argv[1] == "wanted"
from edgerouter.cli.schema import installed_configs
from edgerouter.config.describe.schema import build
print(json.dumps(build(installed_configs())))
"""


def schema(choice: str) -> Any:
    done = subprocess.run([sys.executable, "-c", _SCHEMA, choice], capture_output=True, text=True, check=True, timeout=120)
    return json.loads(done.stdout)


def without_texts(part: Any) -> Any:
    """Return a part of a schema without its descriptions; a field may have that name."""
    if isinstance(part, list):
        return [without_texts(each) for each in part]
    if not isinstance(part, dict):
        return part
    return {key: without_texts(value) for key, value in part.items() if key != "description" or not isinstance(value, str)}


def test_without_the_docstrings_only_descriptions_are_missing() -> None:
    with_them, without_them = schema("wanted"), schema("unwanted")
    assert without_texts(without_them) == without_texts(with_them)
    assert json.dumps(with_them).count('"description"') > 2 * json.dumps(without_them).count('"description"')
