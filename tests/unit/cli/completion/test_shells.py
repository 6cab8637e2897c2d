"""A shell completes commands, options, files and the names of sinks and sources, as a person would type them.

Covers also: edgerouter.cli.completion.command, edgerouter.cli.completion.names, edgerouter.cli.completion.table.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from edgerouter.cli.completion import names
from edgerouter.cli.completion.shells import script
from edgerouter.cli.completion.table import SHELLS, places
from edgerouter.cli.main import app
from support import screen
from support.command import run

PLACES = places(typer.main.get_command(app))
ASK = """
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=(); _edgerouter; echo "${COMPREPLY[*]}"; }
command() { shift 2; echo "asked:$*" | tr " " "_"; }
"""
CASES = {
    "edgerouter dead": "dead-letters",
    "edgerouter --v": "--version",
    "edgerouter dead-letters l": "list",
    "edgerouter top --i": "--interval",
    "edgerouter top --interval 1 --s": "--spool --seconds",
    "edgerouter check -c here": "here.yaml",
    "edgerouter check --config = here": "here.yaml",
    "edgerouter verify --spool fol": "folder",
    "edgerouter verify --spool verify --j": "--json",
    "edgerouter completion ": "bash zsh fish",
    "edgerouter pause asked": "asked:sink",
    "edgerouter pause -c here.yaml asked": "asked:sink_-c_here.yaml",
    "edgerouter pause --source = asked": "asked:source",
    "edgerouter dead-letters list --spool folder --sink asked": "asked:sink_--spool_folder",
}


@pytest.fixture(scope="module")
def scripts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the script of each shell, a file and a folder."""
    folder = tmp_path_factory.mktemp("completion")
    for shell in SHELLS:
        (folder / f"script.{shell}").write_text(script(shell, PLACES))
    (folder / "here.yaml").touch()
    (folder / "folder").mkdir()
    return folder


def test_bash_completes_every_kind_of_word(scripts: Path) -> None:
    lines = ["source script.bash", ASK]
    for typed in CASES:
        words = " ".join(word or '""' for word in typed.split(" "))
        lines.append(f"try {words}")
    done = subprocess.run(
        ["bash", "--norc", "-c", "\n".join(lines)], cwd=scripts, capture_output=True, text=True, check=True, timeout=60
    )
    assert dict(zip(CASES, done.stdout.splitlines(), strict=True)) == CASES
    assert done.stderr == ""


@pytest.mark.parametrize("shell", SHELLS)
def test_the_script_is_one_of_its_shell(shell: str, scripts: Path) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"{shell} is not installed")
    done = subprocess.run([shell, "-n", scripts / f"script.{shell}"], capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")


def test_fish_describes_what_it_completes(scripts: Path) -> None:
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    lines = "source script.fish; complete -C 'edgerouter dead-letters l'; complete -C 'edgerouter top --i'"
    environment = {**os.environ, "HOME": str(scripts)}
    done = subprocess.run(
        ["fish", "--no-config", "-c", lines], cwd=scripts, capture_output=True, text=True, check=True, timeout=60, env=environment
    )
    assert done.stdout.splitlines() == ["list\tList dead letters, oldest first", "--interval\tSeconds between two looks"]


@pytest.mark.parametrize(
    ("program", "begins"),
    [
        (("zsh", "-f", "-i"), "fpath=($PWD $fpath); autoload -Uz compinit; compinit -u -D; PS1='ready '\n"),
        (("fish", "--no-config"), "source script.fish; function fish_prompt; echo -n 'ready '; end\n"),
    ],
    ids=["zsh", "fish"],
)
async def test_a_shell_completes_the_names_of_sinks_on_a_terminal(program: tuple[str, ...], begins: str, scripts: Path) -> None:
    """The keys of a person: a tab after the beginning of a name that only the configuration holds."""
    if shutil.which(program[0]) is None:
        pytest.skip(f"{program[0]} is not installed")
    (scripts / "_edgerouter").write_text(script("zsh", PLACES))
    (scripts / "sinks.yaml").write_text("sinks: {cloud-north: {type: stdout}, archive: {type: stdout}}\n")
    (scripts / "bin").mkdir(exist_ok=True)
    command = scripts / "bin" / "edgerouter"
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m edgerouter.cli.main "$@"\n')
    command.chmod(0o755)
    environment = {"HOME": str(scripts), "PATH": f"{command.parent}:{os.environ['PATH']}"}
    async with screen.shell(*program, environment=environment, folder=scripts) as terminal:
        terminal.press(begins)
        await terminal.until(lambda text: text.rstrip().endswith("ready"))
        terminal.press("edgerouter pause -c sinks.yaml clo\t")
        await terminal.until(lambda text: "pause -c sinks.yaml cloud-north" in text, 60)


def test_every_command_and_option_is_in_every_script(scripts: Path) -> None:
    for shell in SHELLS:
        text = (scripts / f"script.{shell}").read_text()
        for place in PLACES:
            assert all(name in text for name, _ in place.commands)
            for option in place.options:
                assert all((flag if shell != "fish" else f" {flag.lstrip('-')} ") in text for flag in option.flags)


class TestNames:
    """Names of sinks and sources."""

    @pytest.fixture
    def file(self, tmp_path: Path) -> Path:
        file = tmp_path / "edgerouter.yaml"
        file.write_text("sources: {web: {type: nowhere}}\nsinks: {b: 5, a: {url: '${env:NOT_SET}'}, '$(rm x)': {}}\n")
        return file

    def test_a_file_with_mistakes_has_names_and_nothing_for_the_shell_to_run(self, file: Path) -> None:
        done = run("complete-names", "sink", "-c", file, "--limit", "5")
        assert (done.returncode, done.stdout, done.stderr) == (0, "a\nb\n", "")
        assert run("complete-names", "source", "-c", file).stdout == "web\n"

    @pytest.mark.parametrize("text", ["sinks: [", "\0", "sinks: 7"])
    def test_without_names_there_is_silence(self, text: str, file: Path) -> None:
        file.write_text(text)
        done = run("complete-names", "sink", "-c", file)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        done = run("complete-names", "sink", "--spool", file.parent)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

    def test_a_file_that_never_comes_does_not_hold_up_the_shell(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe")
        program = (
            "import sys; from edgerouter.cli.completion import names; names.SECONDS = 1; "
            "from pathlib import Path; names.print_names('sink', Path(sys.argv[1]), None)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program, tmp_path / "pipe"], capture_output=True, text=True, check=False, timeout=60
        )
        assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
        assert names.SECONDS <= 5
