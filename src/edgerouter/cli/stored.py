"""The messages that a spool holds, of a running router or a stopped one; reading changes nothing."""

from __future__ import annotations

import io
from collections.abc import Iterator

from edgerouter.cli.output import say
from edgerouter.cli.spool import ask
from edgerouter.config.model import SpoolSection
from edgerouter.message import Message
from edgerouter.pipeline.shaping.lines import read


def stored(spool: SpoolSection, topic: str, since: int | None) -> Iterator[Message]:
    """Yield the messages that are there when the reading reaches them, in order, page by page.

    Args:
        spool: as configured.
        topic: a valid topic filter.
        since: only messages received at this time or later, ns.

    Raises:
        EdgerouterError: there is no spool.
    """
    start, found = 1, False
    while start:
        page = ask(spool, "stored", start=start, topic=topic, since=since)
        for message in read(io.BytesIO(page["lines"].encode()), None):
            found = True
            yield message
        start = page["next"]
    if not found:
        say("the spool holds no such messages; `spool.retain` says how long delivered messages stay", err=True)
