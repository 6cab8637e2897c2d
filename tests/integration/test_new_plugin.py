"""`edgerouter new-plugin` writes plugins that pip installs and that pass their tests, mypy and ruff at once.

Covers: edgerouter.cli.new_plugin.command.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import get_args

import pytest

from edgerouter.cli.new_plugin.naming import LONGEST, Kind, naming_of
from edgerouter.cli.new_plugin.writing import write
from support.command import run

KINDS: tuple[Kind, ...] = get_args(Kind)
MYPY_CACHE = Path(__file__).parents[2] / ".mypy_cache" / "new-plugin"
BUILD = """
import os, sys
from hatchling import build
wheels, *folders = sys.argv[1:]
for folder in folders:
    os.chdir(folder)
    build.build_wheel(wheels)
"""
"""Builds all wheels as pip does, in one process: pip starts three for each."""


def called(*command: object, folder: Path, **environment: str) -> str:
    """Run a program, which must succeed."""
    ran = subprocess.run(
        list(map(str, command)), cwd=folder, capture_output=True, text=True, timeout=110, check=False,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )  # fmt: skip
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Write a plugin of each kind with the command."""
    work = tmp_path_factory.mktemp("work")
    for kind in KINDS:
        ended = run("new-plugin", kind, f"Acme {kind}", "--directory", work)
        assert ended.returncode == 0, ended.stderr
        assert "YOURS" in ended.stdout
    return [work / f"edgerouter-acme-{kind}" for kind in KINDS]


def test_all_kinds_are_installed_listed_and_pass_their_tests(folders: list[Path], tmp_path: Path) -> None:
    """In one environment: the wheel of each is installed by pip, and one pytest runs the tests of all."""
    site, wheels = tmp_path / "site", tmp_path / "wheels"
    wheels.mkdir()
    called(sys.executable, "-c", BUILD, wheels, *folders, folder=tmp_path)
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-compile", "--target", site)
    called(sys.executable, *pip, *wheels.iterdir(), folder=tmp_path)

    listed = json.loads(run("plugins", "--json", environment={**os.environ, "PYTHONPATH": str(site)}).stdout)
    found = {(each["kind"].replace("_", "-"), each["name"], each["version"]) for each in listed if "acme" in each["distribution"]}
    assert found == {(kind, f"acme-{kind}", "0.1.0") for kind in KINDS}
    assert (site / "edgerouter_acme_sink" / "py.typed").exists()
    again = run("new-plugin", "step", "acme-sink", folder=tmp_path, environment={**os.environ, "PYTHONPATH": str(site)})
    assert again.returncode == 2
    assert "edgerouter-acme-sink is installed already, with the sink 'acme-sink': add this one to it" in again.stderr

    options = (
        "-q",
        "-p",
        "no:cacheprovider",
        "-p",
        "pytest_asyncio.plugin",
        "-o",
        "pythonpath=",
        "-c",
        folders[0] / "pyproject.toml",
    )
    tests = [folder / "tests" for folder in folders]
    out = called(
        sys.executable,
        "-m",
        "pytest",
        *options,
        *tests,
        folder=folders[0],
        PYTHONPATH=str(site),
        PYTEST_DISABLE_PLUGIN_AUTOLOAD="1",
    )
    assert " passed" in out
    assert "skipped" not in out


def test_all_kinds_pass_mypy_strict(folders: list[Path]) -> None:
    """One run with the settings of one of them, which all share."""
    paths = [folder / part for folder in folders for part in ("src", "tests")]
    sources = os.pathsep.join(str(folder / "src") for folder in folders)
    called(sys.executable, "-m", "mypy", "--cache-dir", MYPY_CACHE, *paths, folder=folders[0], MYPYPATH=sources)


def test_all_kinds_pass_ruff_with_the_longest_name_too(folders: list[Path], tmp_path: Path) -> None:
    long = [write(naming_of(kind, f"{kind}{'x' * LONGEST}"[:LONGEST]), tmp_path) for kind in KINDS]
    ruff = Path(sys.executable).with_name("ruff")
    for command in (("check",), ("format", "--check")):
        called(ruff, *command, "--no-cache", *folders, *long, folder=tmp_path)


def test_the_commands_that_it_prints_fit_a_folder_with_spaces_and_the_pip_of_every_supported_python(tmp_path: Path) -> None:
    """A dependency group would need pip 25.1, which no environment of Python 3.11 to 3.13 begins with."""
    place = tmp_path / "it's mine"
    place.mkdir()
    printed = run("new-plugin", "sink", "acme", "--directory", place).stdout.splitlines()
    commands = [shlex.split(line) for line in printed[1:3]]
    assert commands == [["cd", str(place / "edgerouter-acme")], ["pip", "install", "--editable", ".[dev]"]]
    project = tomllib.loads((place / "edgerouter-acme/pyproject.toml").read_text())["project"]
    assert {"mypy", "pytest", "pytest-asyncio", "ruff"} == {
        re.split(">=", each)[0] for each in project["optional-dependencies"]["dev"]
    }


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sink", "http"), "the sink 'http' is installed already, by edgerouter"),
        (("secret-store", "aws"), "edgerouter-aws is a distribution of edgerouter itself"),
        (("step", "3com"), "'3com' cannot be the name of a plugin"),
        (("source", "testo"), "'testo' cannot be the name of a plugin: pytest would take"),
        (("sink", "acme", "--directory", "/nowhere"), "cannot make /nowhere/edgerouter-acme: No such file or directory"),
    ],
)
def test_a_mistake_ends_with_one_line(arguments: tuple[str, ...], said: str, tmp_path: Path) -> None:
    ended = run("new-plugin", *arguments, folder=tmp_path)
    assert ended.returncode == 2
    assert ended.stderr.startswith(said)
    assert ended.stderr.count("\n") == 1
    assert list(tmp_path.iterdir()) == []
