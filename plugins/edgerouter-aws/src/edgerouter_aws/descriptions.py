"""Descriptions of AWS's services that the SDK reads from its files: once for all clients, and without what no client uses."""

from __future__ import annotations

from functools import cache
from pathlib import PurePath
from typing import Any, Final

from botocore.loaders import JSONFileLoader, Loader

SERVICES: Final = frozenset({"oidc", "portal.sso", "s3", "secretsmanager", "signin", "sqs", "sts"})
"""Services whose endpoints are kept, by their names in the SDK's list: our clients use them, and the SDK's chain of credentials."""


class _Files(JSONFileLoader):  # type: ignore[misc]  # the SDK has no types
    def load_file(self, file_path: str) -> Any:
        found = super().load_file(file_path)
        if found is not None:
            kind = PurePath(file_path).name
            if kind == "endpoints":
                _keep_services(found)
            elif kind == "service-2":
                _drop_documentation(found)
        return found


@cache
def descriptions() -> Loader:
    """Return the loader of all sessions: each would parse the files again, 100 ms and 8 MB each time."""
    return Loader(file_loader=_Files())


def _keep_services(endpoints: dict[str, Any]) -> None:
    """Leave out the endpoints of the other services, some hundred: 6 MB."""
    for partition in endpoints["partitions"]:
        partition["services"] = {name: service for name, service in partition["services"].items() if name in SERVICES}


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
