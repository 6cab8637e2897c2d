"""A distribution is written whole, into a new folder."""

from __future__ import annotations

import ast
import errno
import os
import subprocess
import tomllib
from pathlib import Path
from typing import Any, get_args

import pytest

from edgerouter.cli.new_plugin.naming import Kind, naming_of
from edgerouter.cli.new_plugin.writing import TEMPLATES, rendered, write
from edgerouter.errors import ConfigurationError

KINDS: tuple[Kind, ...] = get_args(Kind)


@pytest.mark.parametrize("kind", KINDS)
def test_every_file_has_its_names_and_says_what_to_change(kind: Kind) -> None:
    """The class of the entry point is in its module; no placeholder and no template's name is left."""
    naming = naming_of(kind, "acme-cloud")
    files = dict(rendered(naming))
    (target,) = [points["acme-cloud"] for points in tomllib.loads(files["pyproject.toml"])["project"]["entry-points"].values()]
    module, name = target.split(":")
    tree = ast.parse(files[f"src/{module.replace('.', '/')}.py"])
    assert name in {node.name for node in tree.body if isinstance(node, ast.ClassDef)}
    for path, text in files.items():
        assert "__package__" not in path
        assert "${Stem}" not in text
        assert "$name" not in text
    assert all(any("YOURS" in files[path] for path in files if path.startswith(part)) for part in ("src", "tests", "pyp", "READ"))
    assert "src/edgerouter_acme_cloud/py.typed" in files


def test_git_takes_what_was_written_and_nothing_that_tools_leave(tmp_path: Path) -> None:
    """Bytecode and built wheels stay out of a repository, and so out of the sdist."""
    folder = write(naming_of("step", "acme"), tmp_path)
    written = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    for left in ("src/edgerouter_acme/__pycache__/step.pyc", ".venv/bin/python", "dist/edgerouter_acme-0.1.0.tar.gz"):
        (folder / left).parent.mkdir(parents=True, exist_ok=True)
        (folder / left).touch()
    git = ["git", "-C", str(folder)]
    subprocess.run([*git, "init", "--quiet"], check=True, timeout=30)
    listed = [*git, "ls-files", "--others", "--exclude-standard"]
    found = subprocess.run(listed, check=True, timeout=30, capture_output=True, text=True)
    assert set(found.stdout.splitlines()) == written


def test_every_template_is_of_a_kind_or_of_all() -> None:
    """They are packaged, each by its suffix."""
    assert {folder.name for folder in TEMPLATES.iterdir()} == {*KINDS, "every-kind"}
    assert all(file.suffix == ".template" for file in TEMPLATES.rglob("*") if file.is_file())


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    folder = write(naming_of("sink", "acme"), tmp_path)
    (folder / "README.md").write_text("mine")
    with pytest.raises(ConfigurationError, match="is there already"):
        write(naming_of("step", "acme"), tmp_path)
    assert (folder / "README.md").read_text() == "mine"
    assert (folder / "src/edgerouter_acme/sink.py").exists()


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"nowhere/edgerouter-acme: No such file or directory"):
        write(naming_of("sink", "acme"), tmp_path / "nowhere")


def test_a_disk_that_fills_up_leaves_no_half_of_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The command can be run again once there is room."""
    writing = Path.write_text

    def full(self: Path, *arguments: Any, **more: Any) -> int:
        if self.suffix == ".md":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return writing(self, *arguments, **more)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(ConfigurationError, match="No space left"):
        write(naming_of("sink", "acme"), tmp_path)
    assert list(tmp_path.iterdir()) == []
