"""The interpreter of `.venv`: the newest one that works.

Covers: .ci/python.
"""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / ".ci/python"
TOOLS = ("bash", "dirname", "env", "sort", "timeout")


def interpreter(file: Path, *, works: bool = True) -> Path:
    """Write a program that accepts every `-c`, or none, as a shim does whose version is not selected."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(f"#!/bin/sh\nexit {0 if works else 127}\n")
    file.chmod(0o755)
    return file


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The only folder on the PATH; python3 in it has its home in `versions/3.11.7`."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in TOOLS:
        found = shutil.which(name)
        assert found is not None
        (folder / name).symlink_to(found)
    (folder / "python3").write_text(f"#!/bin/sh\necho {tmp_path}/versions/3.11.7\n")
    (folder / "python3").chmod(0o755)
    return folder


def chosen(path: Path, *arguments: str, **variables: str) -> list[str]:
    environment = {"PATH": str(path), **variables}
    return subprocess.run([SCRIPT, *arguments], env=environment, capture_output=True, text=True, check=True).stdout.split()


def test_the_newest_that_works_is_chosen_whatever_the_order_on_the_path(path: Path) -> None:
    interpreter(path / "python3.11")
    newest = interpreter(path / "python3.13")
    assert chosen(path) == [str(newest)]


def test_a_shim_of_a_version_that_is_not_selected_is_passed_over(path: Path) -> None:
    interpreter(path / "python3.13", works=False)
    working = interpreter(path / "python3.12")
    assert chosen(path) == [str(working)]


def test_a_version_that_is_not_on_the_path_is_found_beside_python3_without_a_home(path: Path, tmp_path: Path) -> None:
    interpreter(path / "python3.13", works=False)
    interpreter(tmp_path / "versions/3.13.9/bin/python3.13")
    newest = interpreter(tmp_path / "versions/3.13.10/bin/python3.13")
    interpreter(path / "python3.11")
    assert chosen(path) == [str(newest)]


def test_a_version_of_pyenv_is_found_by_its_root(path: Path, tmp_path: Path) -> None:
    kept = interpreter(tmp_path / "pyenv/versions/3.12.1/bin/python3.12")
    assert chosen(path, PYENV_ROOT=str(tmp_path / "pyenv")) == [str(kept)]


def test_one_of_each_version_can_be_listed_and_one_version_asked_for(path: Path) -> None:
    every = [interpreter(path / f"python3.{minor}") for minor in (13, 12, 11, 14)]
    assert chosen(path, "--all") == [str(each) for each in every]
    assert chosen(path, "3.11") == [str(path / "python3.11")]


def test_python3_is_left_to_explain_what_it_lacks_where_nothing_works(path: Path) -> None:
    interpreter(path / "python3.13", works=False)
    assert chosen(path) == ["python3"]
    with pytest.raises(subprocess.CalledProcessError):
        chosen(path, "3.13")


def test_make_takes_the_interpreter_that_is_named_instead(tmp_path: Path) -> None:
    """The recipe is printed, not run."""
    asked = ["make", "--dry-run", "--always-make", "--no-print-directory", ".venv/bin/python"]
    folder = SCRIPT.parents[1]
    automatic, named = (
        subprocess.run([*asked, *options], cwd=folder, capture_output=True, text=True, check=True).stdout
        for options in ([], ["PYTHON=/opt/python"])
    )
    assert "python=$(.ci/python);" in automatic
    assert "python=/opt/python;" in named
