"""The manual says what the models say.

Covers also: edgerouter.cli.manual, edgerouter.config.describe.values.
"""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from pydantic import BaseModel, Field, SecretStr, ValidationError

from edgerouter import ByteSize, Duration, plugins
from edgerouter.cli.manual import page
from edgerouter.config.describe.manual import examples, field_examples, write, write_plugins
from edgerouter.config.model import SECTIONS, SinkPolicies, SourcePolicies
from edgerouter.config.shaping import ShapingTest

ROOT = Path(__file__).parents[4]
DISTRIBUTIONS = ["edgerouter", *sorted(file.parent.name for file in ROOT.glob("plugins/*/pyproject.toml"))]
MODELS = {
    **{
        f"{each.kind} {each.name}": plugins.find(each.kind, each.name).Config
        for each in plugins.listing()
        if each.distribution in DISTRIBUTIONS
    },
    **{f"section {name}": model for name, model in SECTIONS.items()},
    "every sink": SinkPolicies,
    "every source": SourcePolicies,
    "tests": ShapingTest,
}


@pytest.mark.parametrize("distribution", DISTRIBUTIONS)
def test_the_committed_page_is_up_to_date(distribution: str) -> None:
    name = "configuration" if distribution == "edgerouter" else f"{distribution.removeprefix('edgerouter-')}-fields"
    assert (ROOT / f"docs/reference/{name}.md").read_text() == page(distribution), "run `make docs-reference`"


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_every_field_has_an_example_that_it_accepts(model: type[BaseModel]) -> None:
    """Its own value is checked as in a file; other fields may lack, and so may the file of a path."""
    wrong = []
    paths = [path for _, path, _ in field_examples(model)]
    for owner, path, text in field_examples(model):
        field = path.rpartition(".")[2]
        name = next(name for name, info in owner.model_fields.items() if field in (name, info.alias))
        if not text and not any(other.startswith((f"{path}.", f"{path}[]")) for other in paths):
            wrong.append(f"{owner.__name__}.{field} lacks `examples=[...]`")
        if not text or text.startswith("${"):
            continue
        try:
            owner.model_validate({field: yaml.safe_load(text)})
        except ValidationError as error:
            said = [each["msg"] for each in error.errors() if each["loc"][:1] in ((field,), (name,)) and each["type"] != "missing"]
            wrong += [f"{owner.__name__}.{field}: {text}: {each}" for each in said if "no such file" not in each]
    assert not wrong, "\n".join(wrong)


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

    name: str = Field(examples=["a `b` | c"])
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
    most: int = Field(default=7, le=10)
    """A bound."""
    share: float = Field(default=0.5, lt=1)
    """A bound that is not reached."""


def test_a_table_shows_field_value_default_example_and_meaning() -> None:
    text = write({"sink": {"outer": Outer}})
    assert "### `sinks`: `type: outer`\n\nA purpose.\n" in text
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    first = next(number for number, row in enumerate(rows) if row.startswith("| `name` | A name."))
    assert rows[first:][:11] == [
        '| `name` | A name. | text | required | `` "a `b` \\| c" `` |',
        "| `size` | A size. | size | `3MiB` | `6MiB` |",
        "| `wait` | A time. | duration | `90s` | `3m` |",
        "| `short` | A short time. | duration | `250ms` | `500ms` |",
        "| `secret` | A secret. | secret text | none | `${file:/run/secrets/secret}` |",
        "| `inner` | A part. | mapping |  |  |",
        "| `inner.deep` | Deep \\| down. | `true` or `false` | `false` | `true` |",
        "| `parts` | Parts. | list of mapping |  |  |",
        "| `parts[].deep` | Deep \\| down. | `true` or `false` | `false` | `true` |",
        "| `most` | A bound. | whole number | `7` | `10` |",
        "| `share` | A bound that is not reached. | number | `0.5` | `0.5` |",
    ]


def test_a_distribution_of_plugins_has_its_own_part() -> None:
    assert write_plugins({"sink": {"outer": Outer}}).startswith("## `sinks`: `type: outer`\n\nA purpose.\n\n| field |")
