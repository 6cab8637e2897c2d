"""The reference of the commands is what the commands say.

Covers also: edgerouter.cli.tree.
"""

from __future__ import annotations

from pathlib import Path

from edgerouter.cli.reference import commands, page

PAGE = Path(__file__).parents[3] / "docs" / "reference" / "cli.md"


def test_the_page_is_the_one_that_the_commands_make() -> None:
    assert PAGE.read_text() == page(), "run `make docs-reference`"


def test_every_command_and_option_has_its_line() -> None:
    text = page()
    for name, command in commands():
        assert f"\n## `{name}`\n" in text
        for parameter in command.params:
            assert parameter.name == "help" or parameter.param_type_name == "argument" or f"`{parameter.opts[0]}" in text


def test_every_option_is_explained() -> None:
    for name, command in commands():
        for parameter in command.params:
            assert parameter.param_type_name == "argument" or parameter.help, f"{name} {parameter.opts}"
