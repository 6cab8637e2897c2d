"""Commands, options and kinds of values at each place of the command line, read from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, Literal

from edgerouter.cli.tree import walk

Kind = Literal["flag", "text", "file", "folder", "sink", "source", "shell"]
"""Value of an option or argument; a `flag` takes none, and of a `text` nothing is known."""

SHELLS: Final = ("bash", "zsh", "fish")
_BY_METAVAR: Final[dict[str, Kind]] = {"FILE": "file", "FOLDER": "folder", "SHELL": "shell"}
_BY_NAME: Final[dict[str, Kind]] = {"sink": "sink", "source": "source"}


@dataclass(frozen=True, slots=True)
class Option:
    """One option of a command."""

    flags: tuple[str, ...]
    """`--config`, `-c`."""
    kind: Kind
    help: str


@dataclass(frozen=True, slots=True)
class Place:
    """A command, or a group of commands."""

    path: str
    """Words behind `edgerouter`, each with a slash in front: `/dead-letters/list`; empty for the program itself."""
    help: str
    options: tuple[Option, ...]
    commands: tuple[tuple[str, str], ...]
    """Name and first sentence of each command below."""
    argument: Kind
    """Kind of what stands without an option."""


def places(program: Any) -> list[Place]:
    """Return every place of the command line of a program, the program itself first."""
    named = [(name.removeprefix("edgerouter").replace(" ", "/"), command) for name, command in walk(program)]
    root = Option(("--version",), "flag", "Show the version and exit")
    found = [_place("", None, (_HELP, root), named)]
    return found + [_place(path, command, (*_options(command), _HELP), named) for path, command in named]


_HELP: Final = Option(("--help", "-h"), "flag", "Show the help and exit")


def _place(path: str, command: Any, options: tuple[Option, ...], named: list[tuple[str, Any]]) -> Place:
    below = [(name.rpartition("/")[2], sentence(each.help)) for name, each in named if name.rpartition("/")[0] == path]
    arguments = [each for each in command.params if each.param_type_name == "argument"] if command is not None else []
    text = sentence(command.help) if command is not None else ""
    return Place(path, text, options, tuple(below), _kind(arguments[0]) if arguments else "text")


def _options(command: Any) -> Iterator[Option]:
    for each in command.params:
        if each.param_type_name == "option" and each.name != "help" and not each.hidden:
            yield Option(tuple(each.opts), "flag" if each.is_flag else _kind(each), sentence(each.help))


def _kind(parameter: Any) -> Kind:
    return _BY_METAVAR.get((parameter.metavar or "").strip("[]."), _BY_NAME.get(parameter.name, "text"))


def sentence(text: str | None) -> str:
    """Return the first sentence of a help text, without its full stop."""
    paragraph = " ".join((text or "").split("\n\n")[0].split())
    return paragraph.partition(". ")[0].removesuffix(".")
