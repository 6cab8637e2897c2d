"""Names of sinks and sources for a completion: from the configuration, else from the running router; bounded in time."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from types import FrameType
from typing import Final, Literal

SECONDS: Final = 3
"""A person waits for the answer; a file on a dead network share may never come."""
_MOST: Final = 1000
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def print_names(kind: Literal["sink", "source"], config: Path | None, spool: Path | None) -> None:
    """Print a name a line; nothing where they cannot be found."""
    with suppress(Exception):
        # what is imported depends on the processor alone, so it is not in the time
        from edgerouter.admin.client import Client  # noqa: PLC0415
        from edgerouter.cli.commands import spool_of  # noqa: PLC0415
        from edgerouter.config import spool_section  # noqa: PLC0415
        from edgerouter.config.file_search import find_file  # noqa: PLC0415

        signal.signal(signal.SIGALRM, _give_up)
        signal.alarm(SECONDS)
        found: Iterable[str] = ()
        if spool is None:
            with suppress(Exception):
                found = spool_section.names(f"{kind}s", find_file(config, os.environ), os.environ)
        if not found:
            found = Client(spool_of(config, spool).path).get("/api/status")[f"{kind}s"]
        # what else stands in a broken file must not reach the shell
        names = sorted(name for name in found if isinstance(name, str) and _NAME.fullmatch(name))[:_MOST]
        os.write(1, "".join(f"{name}\n" for name in names).encode())


def _give_up(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)
