"""The pages about deployments name files that exist, and their examples are valid configurations.

Covers: deploy, docs/how-to.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgerouter import plugins
from edgerouter.config.loading import load

ROOT = Path(__file__).resolve().parents[3]
NAMES = ["install-on-debian", "run-with-systemd", "run-with-podman", "run-on-kubernetes", "provision-a-box"]
PAGES = [ROOT / f"docs/how-to/{name}.md" for name in NAMES]
DEFAULT = ROOT / "deploy/debian/edgerouter.yaml"
SECTIONS = {"sources", "sinks", "spool", "admin", "log", "shutdown"}


def examples() -> Iterator[Any]:
    """Yield the configurations in the pages, each with its page."""
    for page in PAGES:
        for number, block in enumerate(re.findall(r"(?ms)^```yaml\n(.*?)^```$", page.read_text())):
            documents = [each for each in yaml.safe_load_all(block) if each]
            for each in documents:
                if set(each) <= SECTIONS:
                    yield pytest.param(each, id=f"{page.stem}-{number}")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_every_file_that_a_page_names_exists(page: Path) -> None:
    named = set(re.findall(r"(?<![\w/.])deploy/[\w./-]*\w", page.read_text()))
    assert named
    assert {name for name in named if not (ROOT / name).exists()} == set()


@pytest.mark.parametrize("example", list(examples()))
def test_an_example_is_a_valid_configuration(example: dict[str, Any], tmp_path: Path) -> None:
    """Sections that it leaves out are the default file's; a secret's file is one that exists here."""
    whole = yaml.safe_load(DEFAULT.read_text()) | example
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    file = tmp_path / "edgerouter.yaml"
    file.write_text(re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", yaml.safe_dump(whole)))
    assert load(file, {}, plugins).sinks


def test_the_default_configuration_is_valid_and_touches_one_folder() -> None:
    config = load(DEFAULT, {}, plugins)
    assert [source.type for source in config.sources] == ["mqtt"]
    (sink,) = config.sinks
    assert Path(sink.raw["path"]).is_relative_to(config.spool.path)
