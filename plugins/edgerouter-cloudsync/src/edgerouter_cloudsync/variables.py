"""The environment variables of CloudSync's container: `CLOUD_SYNC=true` sets up the source and the sink."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from edgerouter.variables import FromVariable, Preset

_NAME: Final = "cloudsync"
_TOPICS: Final = "$cloudsync/#"
_LANES: Final = 32
"""Brokers of which none waits for another."""


def _is_on(given: Mapping[str, str], name: str) -> bool:
    """Return True for `true` in any letters, as CloudSync read it; another value is off, as there."""
    return given.get(name, "").strip().lower() == "true"


def _make(given: Mapping[str, str]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    if not _is_on(given, "CLOUD_SYNC"):
        return {}
    both: dict[str, Any] = {"secure": FromVariable("SECURE", True)} if _is_on(given, "SECURE") else {}
    # port 56001 of every address, as the container had it; callers elsewhere are refused
    source = {"type": FromVariable("CLOUD_SYNC", _NAME), "listen": "0.0.0.0:56001", **both}
    sink = {"type": FromVariable("CLOUD_SYNC", _NAME), "topics": [_TOPICS], "concurrency": _LANES, **both}
    if _is_on(given, "CLOUD_SYNC_LEGACY"):
        source["legacy_status"] = FromVariable("CLOUD_SYNC_LEGACY", True)
        sink |= {"qos": FromVariable("CLOUD_SYNC_LEGACY", 0), "retain": FromVariable("CLOUD_SYNC_LEGACY", True)}
    return {"sources": {_NAME: source}, "sinks": {_NAME: sink}}


VARIABLES = (Preset(_NAME, ("CLOUD_SYNC", "CLOUD_SYNC_LEGACY", "SECURE"), _make, generic=("SECURE",)),)
