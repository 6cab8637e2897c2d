"""Descriptions of AWS's services that the SDK reads from its files: once for all clients, and without what no client uses."""

from __future__ import annotations

import contextlib
import gzip
from functools import cache
from pathlib import Path
from typing import Any, Final

from botocore.loaders import JSONFileLoader, Loader
from msgspec import Raw
from msgspec.json import decode

SERVICES: Final = frozenset({"oidc", "portal.sso", "s3", "secretsmanager", "signin", "sqs", "sts"})
"""Services whose endpoints are kept, by their names in the SDK's list: our clients use them, and the SDK's chain of credentials."""


class _Files(JSONFileLoader):  # type: ignore[misc]  # the SDK has no types
    def load_file(self, file_path: str) -> Any:
        text = _read(file_path)
        if text is None:
            return None
        kind = Path(file_path).name
        if kind == "endpoints":
            return _endpoints(text)
        found = decode(text)
        if kind == "service-2":
            _drop_documentation(found)
        return found


def _read(file_path: str) -> bytes | None:
    """Return the text of a file, plain or packed; `None` without one.

    It is read by another decoder than the SDK's, which takes four times as long, on the event loop, and makes ordered dictionaries
    of twice the size.
    """
    for suffix, unpacked in ((".json", bytes), (".json.gz", gzip.decompress)):
        with contextlib.suppress(FileNotFoundError):
            return unpacked(Path(file_path + suffix).read_bytes())
    return None


@cache
def descriptions() -> Loader:
    """Return the loader of all sessions: each would parse the files again, 100 ms and 8 MB each time."""
    return Loader(file_loader=_Files())


def _endpoints(text: bytes) -> dict[str, Any]:
    """Read the list of endpoints without those of the other services, some hundred: 6 MB, of which nothing is decoded."""
    parts = _parts(text)
    partitions = []
    for partition in decode(parts.pop("partitions"), type=list[dict[str, Raw]]):
        services = _parts(partition.pop("services"))
        kept = {name: decode(service) for name, service in services.items() if name in SERVICES}
        partitions.append({**{name: decode(part) for name, part in partition.items()}, "services": kept})
    return {**{name: decode(part) for name, part in parts.items()}, "partitions": partitions}


def _parts(text: bytes | Raw) -> dict[str, Raw]:
    return decode(text, type=dict[str, Raw])


def _drop_documentation(part: Any) -> None:
    """Empty the texts of a service's description, 1.5 MB for S3 and SQS; a member of a structure may have that name."""
    if isinstance(part, dict):
        if isinstance(part.get("documentation"), str):
            part["documentation"] = ""  # the SDK copies it into its classes
        for inner in part.values():
            _drop_documentation(inner)
    elif isinstance(part, list):
        for inner in part:
            _drop_documentation(inner)
