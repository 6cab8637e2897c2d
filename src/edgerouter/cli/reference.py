"""Print docs/reference/cli.md (`make docs-reference`) from the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import typer

from edgerouter.cli.main import app
from edgerouter.cli.tree import walk

_HEAD = """\
# Commands

<!-- Written by `make docs-reference` from the commands in src/edgerouter/cli; change the docstrings there. -->

`edgerouter COMMAND --help` shows the same for one command. [How to operate a router](../how-to/operate.md) says when to use which.

Without `-c FILE` the configuration is the file that `EDGEROUTER_CONFIG` names; else, for `run`, `check`, `config` and `try`,
`edgerouter.yaml` in the folder that the command runs in; else `/etc/edgerouter/edgerouter.yaml`; else the environment alone.
Commands on a spool read `spool.path` alone, and no configuration with `--spool FOLDER`.

| exit code | meaning |
|---|---|
| 0 | done |
| 1 | it could not be done now; standard error says why |
| 2 | the command line, the configuration or the spool has to be corrected; standard error has a line for each problem |
"""


def commands() -> Iterator[tuple[str, Any]]:
    """Yield every command with its full name, in the order of the help."""
    yield from walk(typer.main.get_command(app))


def page() -> str:
    """Return the whole page."""
    return "\n".join([_HEAD, *(_section(name, command) for name, command in commands())])


def _section(name: str, command: Any) -> str:
    words = command.collect_usage_pieces(command.make_context(name, [], resilient_parsing=True))
    paragraphs = [" ".join(paragraph.split()) for paragraph in (command.help or "").split("\n\n")]
    rows = [_row(parameter) for parameter in command.params if parameter.name != "help"]
    table = ["| option | default | meaning |", "|---|---|---|", *rows] if rows else []
    parts = [f"## `{name}`", *paragraphs, f"```text\n{' '.join([name, *words])}\n```", "\n".join(table)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _row(parameter: Any) -> str:
    is_argument = parameter.param_type_name == "argument"
    metavar = parameter.metavar or ""
    names = metavar.strip("[].") if is_argument else ", ".join(parameter.opts)
    value = f" {metavar}" if metavar and not is_argument else ""
    text = " ".join((getattr(parameter, "help", None) or "").split()).replace("|", "\\|")
    return f"| `{names}{value}` | {_default(parameter)} | {text} |"


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    if parameter.default is None or parameter.default is False or parameter.default == []:
        return ""
    default = parameter.default
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


if __name__ == "__main__":
    print(page(), end="")  # noqa: T201  (printing it is its purpose)
