"""Inspects a shared access signature for Blob Storage, so that an expired or read-only one is reported at the start."""

from __future__ import annotations

from datetime import UTC, datetime
from urllib.parse import parse_qs

from edgerouter_azure.errors import CLOCK_HINT


def permission_missing(signature: str, *, append: bool) -> str:
    """Name the permission that writing lacks; empty if it lacks none, or where a policy of the container holds them.

    https://learn.microsoft.com/rest/api/storageservices/create-service-sas#specify-permissions
    """
    allowed = _field(signature, "sp")
    if not allowed or "w" in allowed or ("c" in allowed and (not append or "a" in allowed)):
        return ""
    needed = "create and add (`c`, `a`), or write (`w`)" if append else "create (`c`) or write (`w`)"
    return f"the shared access signature allows only `{allowed}`, and not to {needed}"


def time_missed(signature: str) -> str:
    """Describe a signature that is not valid yet, or no longer, by the device's clock; empty where it is."""
    now = datetime.now(UTC)
    starts, ends = _time(_field(signature, "st")), _time(_field(signature, "se"))
    if ends is not None and ends <= now:
        return f"the shared access signature expired at {ends:%Y-%m-%d %H:%M:%S} UTC; or: {CLOCK_HINT}"
    if starts is not None and starts > now:
        return f"the shared access signature is not valid before {starts:%Y-%m-%d %H:%M:%S} UTC; or: {CLOCK_HINT}"
    return ""


def _field(signature: str, name: str) -> str:
    return parse_qs(signature.strip().lstrip("?")).get(name, [""])[0]


def _time(text: str) -> datetime | None:
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        return None
    return time if time.tzinfo is not None else time.replace(tzinfo=UTC)
