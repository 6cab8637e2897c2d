"""Checks that a file sink could write, without changing anything: a running router may have the same files open."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from edgerouter.errors import Unauthorized, Unavailable
from edgerouter.folder import folder_fault
from edgerouter.message import Message
from edgerouter.outcome import Outcome
from edgerouter.sinks.file.config import FileConfig
from edgerouter.sinks.file.disk import open_regular, unavailable


def look(config: FileConfig) -> None:
    """Check the folder, and the growing file if it exists. Takes no lock and leaves nothing behind.

    Raises:
        Unavailable: it could not be written.
    """
    fault = folder_fault(config.path)
    if fault is not None:
        raise (Unauthorized if fault.lasting else Unavailable)(fault.reason)
    if config.key is not None:
        return
    try:
        folder = os.open(config.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return  # the sink creates it when it opens
    try:
        for name in (config.file, f".{config.file}.lock"):
            with suppress(FileNotFoundError):
                os.close(open_regular(name, os.O_RDWR, 0, folder))
    except OSError as error:
        raise unavailable(error, "open", config.path / config.file) from error
    finally:
        os.close(folder)


class Unwritten:
    """Stands in for the files of a sink that was opened to probe."""

    def write(self, batch: Sequence[Message]) -> Outcome:  # noqa: ARG002  (nothing is written)
        raise Unavailable("the sink was opened only to probe")

    def close(self) -> None:
        """Do nothing: no file is open."""
