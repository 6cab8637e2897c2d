"""The page about wrong plugins: `PYTHONPATH=tests python -m support.wrong.page > docs/reference/what-the-kit-catches.md`."""

from __future__ import annotations

import sys
from typing import Final

from support.wrong import sink_limits, sink_traces, sinks, sources, steps, stores
from support.wrong.catalogue import of

CATALOGUED: Final = (sinks, sink_limits, sink_traces, sources, steps, stores)
"""Modules that fill the catalogue when they are imported."""
_TITLES: Final[dict[str, str]] = {"sink": "Sinks", "source": "Sources", "step": "Steps", "secret store": "Secret stores"}
_HEAD: Final = """\
# What the kit catches

The conformance suites of `edgerouter.testing` fail each of these plugins, with a message that names the promise and the cure. The
list is that of the suites' own tests: every row is a plugin that is wrong in one way, and part of the message with which its test
fails. [Writing a plugin](../how-to/write-a-plugin.md#the-conformance-suite) shows how to use the suites.
"""


def text() -> str:
    """Return the page."""
    parts = [_HEAD]
    for kind, title in _TITLES.items():
        rows = [f"| {each.fault[0].lower()}{each.fault[1:]} | {each.says} |" for each in of(kind)]
        parts.append("\n".join(["", f"## {title}", "", "| a plugin that | fails with |", "|---|---|", *rows, ""]))
    return "".join(parts)


if __name__ == "__main__":
    sys.stdout.write(text())
