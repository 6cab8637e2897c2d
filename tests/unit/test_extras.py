"""A hint names a command that works, wherever edgerouter was installed from."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest

from edgerouter import extras

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md")]
Record = Callable[[Mapping[str, Any] | None], None]


@pytest.fixture
def recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    """Install edgerouter with this record of its origin, or with none."""
    info = tmp_path / "edgerouter.dist-info"
    info.mkdir()
    monkeypatch.setattr(metadata, "distribution", lambda _: metadata.PathDistribution(info))

    def record(origin: Mapping[str, Any] | None) -> None:
        if origin is not None:
            (info / "direct_url.json").write_text(json.dumps(origin))

    return record


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    folder = tmp_path / "my clone"
    (folder / "plugins/edgerouter-aws").mkdir(parents=True)
    (folder / "pyproject.toml").touch()
    return folder


def test_from_a_clone_it_is_the_folder_of_the_plugin(recorded: Record, clone: Path) -> None:
    recorded({"url": clone.as_uri(), "dir_info": {}})
    assert extras.install_command("aws") == f"pip install '{clone}/plugins/edgerouter-aws'"
    assert extras.install_command("otel") == f"pip install '{clone}[otel]'"


def test_from_an_editable_clone_the_core_stays_editable(recorded: Record, clone: Path) -> None:
    recorded({"url": clone.as_uri(), "dir_info": {"editable": True}})
    assert extras.install_command("otel") == f"pip install --editable '{clone}[otel]'"


def test_from_a_wheel_it_is_the_folder_of_the_wheel(recorded: Record, tmp_path: Path) -> None:
    wheel = tmp_path / "edgerouter-0.1.0-py3-none-any.whl"
    wheel.touch()
    recorded({"url": wheel.as_uri(), "archive_info": {}})
    assert extras.install_command("aws") == f'pip install --find-links {tmp_path} "edgerouter[aws]"'


@pytest.mark.parametrize("origin", [None, {"url": "file:///gone/away", "dir_info": {}}, {"url": "https://host.example/x.whl"}, {}])
def test_from_an_unknown_place_it_asks_for_a_folder_until_an_index_has_the_packages(
    recorded: Record, origin: Mapping[str, Any] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    recorded(origin)
    assert extras.install_command("aws") == 'pip install --find-links FOLDER_OF_WHEELS "edgerouter[aws]"'
    monkeypatch.setattr(extras, "PUBLISHED", True)
    assert extras.install_command("aws") == 'pip install "edgerouter[aws]"'


def test_a_damaged_record_does_not_hold_up_the_others(recorded: Record, tmp_path: Path) -> None:
    recorded(None)
    (tmp_path / "edgerouter.dist-info/direct_url.json").write_text("{")
    assert "FOLDER_OF_WHEELS" in extras.install_command("aws")


def test_no_hint_and_no_page_names_a_package_that_no_index_has() -> None:
    """The hints of the code come from `extras.install_command`; a page names the folder of wheels or the clone."""
    assert not extras.PUBLISHED, "adapt the pages, and delete this test"
    sources = [*(ROOT / "src").rglob("*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
    named = re.compile(
        r"""pip install (?!--find-links|--no-index|--require-hashes)[^\n]*?['"` ]edgerouter(-[a-z]+)?(\[.*?\])?['"`\s;]"""
    )
    ours = {*PAGES, *sources} - {ROOT / "src/edgerouter/extras.py"}
    found = [f"{file.relative_to(ROOT)}: {match[0]}" for file in ours for match in named.finditer(file.read_text())]
    assert found == []
