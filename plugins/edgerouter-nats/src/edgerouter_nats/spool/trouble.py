"""Trouble of one part of the spool: logged when it begins and when it is over, and shown in the status in between."""

from __future__ import annotations

from typing import Final

import structlog

log: Final = structlog.get_logger("edgerouter.spool")


class Trouble:
    """A part that fails and tries again.

    Args:
        began: logged with the reason when it begins to fail.
        over: logged when it works again.
    """

    def __init__(self, began: str, over: str) -> None:
        self._began = began
        self._over = over
        self.reason = ""
        """Why the last attempt failed; empty when it did not."""

    def failed(self, error: object) -> None:
        """Note that an attempt failed."""
        if not self.reason:
            log.warning(self._began, reason=str(error))
        self.reason = str(error)

    def end(self) -> None:
        """Note that an attempt succeeded."""
        if self.reason:
            log.info(self._over)
        self.reason = ""
