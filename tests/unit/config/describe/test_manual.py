"""The manual says what the models say.

Covers also: edgerouter.cli.manual.
"""

from __future__ import annotations

from pathlib import Path

import yaml
from pydantic import BaseModel, Field, SecretStr

from edgerouter import ByteSize, Duration, plugins
from edgerouter.cli.manual import page
from edgerouter.config.describe.manual import examples, write, write_plugins
from edgerouter.config.model import SECTIONS

ROOT = Path(__file__).parents[4]


def test_the_committed_page_is_up_to_date() -> None:
    assert (ROOT / "docs" / "reference" / "configuration.md").read_text() == page(), "run `make docs-reference`"


def test_every_plugin_and_section_of_the_core_has_an_example() -> None:
    """Those of plugins are loaded with the blocks of all pages; a section is validated here."""
    built_in = {f"{each.kind}s.{each.name}" for each in plugins.listing() if each.distribution == "edgerouter"}
    shown = {f"{section}.{name}" for section, by_name in examples().items() for name in by_name}
    assert built_in | {f"sections.{name}" for name in SECTIONS} == shown
    for name, text in examples()["sections"].items():
        SECTIONS[name].model_validate(yaml.safe_load(text)[name])


class Inner(BaseModel, use_attribute_docstrings=True):
    """Inside."""

    deep: bool = False
    """Deep | down."""


class Outer(BaseModel, use_attribute_docstrings=True):
    """A purpose.

    A detail.
    """

    name: str
    """A name."""
    size: ByteSize = 3 * 1024**2
    """A size."""
    wait: Duration | None = 90.0
    """A time."""
    short: Duration = 0.25
    """A short time."""
    secret: SecretStr | None = None
    """A secret."""
    inner: Inner = Inner()
    """A part."""
    parts: tuple[Inner, ...] = Field(default=())
    """Parts."""


def test_a_table_shows_field_value_default_and_meaning() -> None:
    text = write({"sink": {"outer": Outer}})
    assert "### `sinks`: `type: outer`\n\nA purpose.\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert rows[rows.index("| `name` | text | required | A name. |") :][:9] == [
        "| `name` | text | required | A name. |",
        "| `size` | size | `3MiB` | A size. |",
        "| `wait` | duration | `90s` | A time. |",
        "| `short` | duration | `250ms` | A short time. |",
        "| `secret` | secret text | none | A secret. |",
        "| `inner` | mapping |  | A part. |",
        "| `inner.deep` | `true` or `false` | `false` | Deep \\| down. |",
        "| `parts` | list of mapping |  | Parts. |",
        "| `parts[].deep` | `true` or `false` | `false` | Deep \\| down. |",
    ]


def test_a_distribution_of_plugins_has_its_own_part() -> None:
    assert write_plugins({"sink": {"outer": Outer}}).startswith("### `sinks`: `type: outer`\n\nA purpose.\n\n| field |")
