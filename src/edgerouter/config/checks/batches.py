"""Check that batches can fill: a volatile spool holds no more than its sources may have in flight."""

from __future__ import annotations

import structlog

from edgerouter.config.model import RouterConfig, SpoolConfig

log = structlog.get_logger("edgerouter.app")


def warn_of_batches_that_never_fill(config: RouterConfig) -> None:
    """Log a warning for each sink whose batches always wait for their linger.

    With a volatile spool nothing is acknowledged before it is delivered, so a batch never holds more than may wait at once.
    """
    spool = config.spool
    if not isinstance(spool, SpoolConfig) or spool.type != "memory":
        return
    at_once = [window for window in (sum(source.config.window or 0 for source in config.sources), spool.max_messages) if window]
    for sink in config.sinks:
        batch = sink.policies.batch
        if at_once and batch.linger and batch.max_messages > min(at_once):
            log.warning(
                "batches cannot fill and always wait for their linger: so many messages are never in a volatile spool at once",
                sink=sink.name,
                max_messages=batch.max_messages,
                at_once=min(at_once),
            )
