"""Pauses: names of the sinks and sources that an operator paused, kept in a file of the spool's folder."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec
import structlog

from edgerouter.private_files import read_private, replace_private

log = structlog.get_logger("edgerouter.pauses")

FILE: Final = "paused.json"
_LARGEST: Final = 1024**2
"""Largest valid file; a larger one counts as damaged."""


class Paused(msgspec.Struct, frozen=True, kw_only=True):
    """Content of the file."""

    sinks: tuple[str, ...] = ()
    sources: tuple[str, ...] = ()


class Pauses:
    """The present pauses. They outlive a restart: an operator who paused a sink does not expect the next start to send.

    Args:
        folder: of the spool; `None` where there is none to write into: then a restart resumes everything.
    """

    def __init__(self, folder: Path | None) -> None:
        self._file = None if folder is None else folder / FILE
        found = _read(self._file)
        self.sinks = set(found.sinks)
        self.sources = set(found.sources)

    def save(self) -> bool:
        """Write the file; returns False, and logs why, if a restart will not know. Not for the event loop."""
        if self._file is None:
            return False
        content = msgspec.json.encode(Paused(sinks=tuple(sorted(self.sinks)), sources=tuple(sorted(self.sources))))
        try:
            replace_private(self._file, content)
        except OSError as error:
            log.warning("a pause could not be kept for the next start", file=str(self._file), reason=error.strerror or str(error))
            return False
        return True


def _read(file: Path | None) -> Paused:
    if file is None:
        return Paused()
    try:
        return msgspec.json.decode(read_private(file, _LARGEST), type=Paused)
    except FileNotFoundError:
        return Paused()
    except (OSError, ValueError) as error:
        # a router that did not start would lose what devices send meanwhile
        log.warning("the list of paused sinks and sources is unusable: nothing is paused", file=str(file), reason=str(error))
        return Paused()
