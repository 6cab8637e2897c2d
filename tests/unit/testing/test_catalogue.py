"""The catalogue of wrong plugins and its page are the same, and every row is another fault.

Covers: tests/support/wrong, docs/reference/what-the-kit-catches.md.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from edgerouter.testing import SecretStoreConformance, SinkConformance, SourceConformance, StepConformance
from support.wrong.catalogue import WRONG
from support.wrong.page import text

PAGE = Path(__file__).parents[3] / "docs/reference/what-the-kit-catches.md"
SUITES = {
    "sink": SinkConformance,
    "source": SourceConformance,
    "step": StepConformance,
    "secret store": SecretStoreConformance,
}


def test_the_page_lists_exactly_the_catalogue() -> None:
    assert PAGE.read_text() == text(), "PYTHONPATH=tests .venv/bin/python -m support.wrong.page > " + str(PAGE)


def test_every_wrong_plugin_is_wrong_in_another_way_and_names_its_test() -> None:
    assert len(WRONG) >= 100
    assert [fault for fault, times in Counter((each.kind, each.fault) for each in WRONG).items() if times > 1] == []
    assert [each.test for each in WRONG if not hasattr(SUITES[each.kind], each.test)] == []
