"""Processors of a log line's fields: secrets are masked, control characters escaped."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping, Sequence
from typing import Any, Final

from edgerouter.masking import mask
from edgerouter.visible import visible

_OURS: Final = frozenset(
    {"level", "logger", "timestamp", "sink", "sinks", "source", "sources", "store", "state", "signal", "version"}
)
"""Fields that hold names from the configuration and the router's own vocabulary; a password equal to one must not hide it."""


def mask_fields(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Mask the secrets in every field of a log line; a structlog processor."""
    constant = event.get("_from_structlog") and str(event.get("logger", "")).startswith("edgerouter.")
    for key, value in event.items():
        if not key.startswith("_") and key not in _OURS and not (constant and key == "event"):
            event[key] = _masked(value)
    return event


def _masked(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {mask(str(key)): _masked(inner) for key, inner in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return [_masked(inner) for inner in value]
    return mask(value if isinstance(value, str) else str(value) if isinstance(value, BaseException) else repr(value))


def make_visible(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Escape the control characters in everything that goes to a terminal; a structlog processor."""
    return {
        key: value if key.startswith("_") else _visible(value, lines=key in ("exception", "stack")) for key, value in event.items()
    }


def _visible(value: Any, *, lines: bool) -> Any:
    if isinstance(value, str):
        return visible(value, lines=lines)
    if isinstance(value, Mapping):
        return {visible(str(key)): _visible(inner, lines=lines) for key, inner in value.items()}
    return [_visible(inner, lines=lines) for inner in value] if isinstance(value, list) else value
