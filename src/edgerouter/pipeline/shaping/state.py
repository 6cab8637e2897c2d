"""State of a step in a file of the spool's folder."""

from __future__ import annotations

from pathlib import Path

import structlog

from edgerouter.private_files import FOLDER_MODE, read_private, replace_private
from edgerouter.step import MOST_STATE_BYTES, StepState

log = structlog.get_logger("edgerouter.steps")


class FileState(StepState):
    """One file, replaced as a whole. It survives the end of the process at any moment; a power cut may take the last change.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path
        try:
            self.content = read_private(path, MOST_STATE_BYTES + 1)
        except FileNotFoundError:
            return
        except OSError as error:
            log.warning("a step begins without its state", file=str(path), reason=str(error))
        if len(self.content) > MOST_STATE_BYTES:
            self.content = b""

    def save(self, content: bytes) -> None:
        super().save(content)
        try:
            self._path.parent.mkdir(FOLDER_MODE, parents=True, exist_ok=True)
            replace_private(self._path, content, sync=False)
        except OSError as error:
            log.warning("the state of a step is not saved", file=str(self._path), reason=str(error))
