"""A name for the router that a broker keeps a session under: it must be the same at the next start."""

from __future__ import annotations

import hashlib
from base64 import b32encode

from edgerouter.config.model import SpoolSection


def session_identity(config: SpoolSection, host: str, spool: str) -> str:
    """Return what stays of a router over restarts.

    Args:
        config: of the spool.
        host: the device's name.
        spool: the spool's id. A volatile spool has a new one at each start, as its numbers begin anew, so it is not used for that.
    """
    if config.type == "sqlite":
        return spool
    stays = f"{host}\0{config.path.absolute()}"
    return b32encode(hashlib.sha256(stays.encode()).digest()).decode().lower()[:13]
