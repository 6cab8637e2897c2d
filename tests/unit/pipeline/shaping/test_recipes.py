"""Every recipe of the manual does what its tests say.

Covers: docs.
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from edgerouter import plugins
from edgerouter.pipeline.shaping.expectations import failures

PAGE = Path(__file__).parents[4] / "docs" / "how-to" / "shape-messages.md"
RECIPES = re.findall(
    r"^### (.*?)\n.*?^```yaml\n(.*?)^```", PAGE.read_text().partition("## What others")[0], re.MULTILINE | re.DOTALL
)


@pytest.mark.parametrize(("title", "text"), RECIPES, ids=[title for title, _ in RECIPES])
def test_a_recipe_of_the_manual_holds(title: str, text: str, tmp_path: Path) -> None:
    file = tmp_path / "edgerouter.yaml"
    file.write_text(text)
    config = plugins.load(file, {})
    assert {test.sink for test in config.tests} == {sink.name for sink in config.sinks}, f"{title}: every sink has a test"
    assert list(failures(config)) == []
