"""The health of the spool's disk, as the last attempts to write have shown it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Final

import structlog

from edgerouter.config.model import SpoolConfig
from edgerouter.errors import SpoolError, SpoolFull, SpoolReadOnly
from edgerouter.spool.sqlite.capacity import Capacity, Reserve, Usage
from edgerouter.spool.sqlite.db.errors import COMPLAIN_EVERY, explain
from edgerouter.spool.status import SpoolState

log = structlog.get_logger("edgerouter.spool")

_NEXT_STEPS: Final[Mapping[SpoolState, str]] = {
    "full": "free space on the disk, or fix the sink with the most `pending`; nothing more is acknowledged until then",
    "read_only": "check the disk and mount it for writing; the router resumes by itself",
    "failing": "check the disk; the router resumes by itself",
}


class Health:
    """Full, read-only, failing, or none of these.

    Args:
        config: of the spool.
        usage: of the database, as of the last transaction.
    """

    def __init__(self, config: SpoolConfig, usage: Usage) -> None:
        self.capacity = Capacity(config, usage)
        self._reserve = Reserve(config.path, self.capacity.reserve)
        self._failure: tuple[SpoolState, str] | None = None
        self._reported: dict[SpoolState, float] = {}
        self._report_end = False
        self._appends_failed = False
        self.stuck = False
        """The write-ahead log cannot be folded into the database: no more messages may come."""
        if not self.fits(0) or self.capacity.exhausted:
            # reported at the start, not with the first message
            self._begin("full", "the disk is full")

    @property
    def failure(self) -> tuple[SpoolState, str] | None:
        """The state and its reason; `None` when the disk takes everything."""
        full = self._failure is not None and self._failure[0] == "full"
        # without a message nothing else would find out that there is room again
        if full and not (self.stuck or self._appends_failed or not self.fits(0) or self.capacity.exhausted):
            self._end()
        return self._failure

    def fits(self, need: int) -> bool:
        """Deliveries of so many bytes may be tried: the disk was not full, or has room again beside the reserve."""
        return self._reserve.held or self.capacity.after_full(need)

    def disk_full(self) -> None:
        """Give up the reserve, so that what is settled can be written and makes room."""
        self._begin("full", "the disk is full")
        self._reserve.give_up()

    def written(self, *, appends: bool, stuck: bool) -> None:
        """Note a transaction that is on disk."""
        if stuck:
            self.disk_full()
        if self._failure is not None and not stuck and (appends or not self._appends_failed) and self.fits(0):
            self._end()
        self._appends_failed = self._appends_failed and not appends
        self.stuck = stuck
        self._reserve.hold(self.capacity.free_bytes)

    def failed(self, *, appends: bool) -> None:
        """Note a transaction that failed."""
        self._appends_failed = self._appends_failed or appends

    def cannot_write(self, error: BaseException) -> SpoolError:
        """Note why the disk takes nothing, until it takes something; return the reason for callers."""
        explained = explain(error)
        if isinstance(explained, SpoolFull):
            self.disk_full()
        else:
            self._begin("read_only" if isinstance(explained, SpoolReadOnly) else "failing", str(explained))
        return explained

    def _begin(self, state: SpoolState, reason: str) -> None:
        now = time.monotonic()
        # a nearly full disk flaps: log at most once a minute
        if (self._failure is None or self._failure[0] != state) and now - self._reported.get(state, float("-inf")) > COMPLAIN_EVERY:
            self._reported[state] = now
            self._report_end = True
            log.error("spool cannot be written, trying again", state=state, reason=reason, next=_NEXT_STEPS[state])
        self._failure = (state, reason)

    def _end(self) -> None:
        self._failure = None
        if self._report_end:
            log.info("spool can be written again")
        self._report_end = False
