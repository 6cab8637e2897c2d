"""File descriptors that the process may open: as many as the system allows, and enough to start with."""

from __future__ import annotations

import resource
from typing import Final

from edgerouter.errors import ConfigurationError

LEAST: Final = 64
"""The spool, the control socket and the event loop need about 20, each source and sink a few."""
_MOST: Final = 65_536


def raise_limit() -> None:
    """Raise the soft limit to the hard one, because many clients' connections must leave some for the spool.

    Raises:
        ConfigurationError: the hard limit is too low to run with.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MOST if hard == resource.RLIM_INFINITY else min(hard, _MOST)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        soft = wanted
    if soft != resource.RLIM_INFINITY and soft < LEAST:
        raise ConfigurationError(
            f"only {soft} files and connections may be open at once, and the router needs at least {LEAST}: raise the limit with"
            " `ulimit -n`, `LimitNOFILE=` of systemd or `--ulimit nofile` of the container"
        )
