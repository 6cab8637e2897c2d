"""Descriptions of AWS's services that the SDK reads from its files: once for all clients, and without what no client uses."""

from __future__ import annotations

import contextlib
import gzip
import threading
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from botocore.loaders import JSONFileLoader, Loader
from msgspec import Raw
from msgspec.json import decode

SERVICES: Final = frozenset({"oidc", "portal.sso", "s3", "secretsmanager", "signin", "sqs", "sts"})
"""Services whose endpoints are kept, by their names in the SDK's list: our clients use them, and the SDK's chain of credentials."""

OPERATIONS: Final[Mapping[str, frozenset[str]]] = {
    "s3": frozenset(
        {
            "AbortMultipartUpload",
            "CompleteMultipartUpload",
            "CreateMultipartUpload",
            "CreateSession",  # the SDK calls it for directory buckets
            "HeadObject",
            "PutObject",
            "UploadPart",
        }
    ),
    "secretsmanager": frozenset({"GetSecretValue"}),
    "sqs": frozenset(
        {
            "ChangeMessageVisibilityBatch",
            "DeleteMessageBatch",
            "GetQueueAttributes",
            "GetQueueUrl",
            "ReceiveMessage",
            "SendMessageBatch",
        }
    ),
}
"""Operations that are kept of a service, by its name in the SDK; services that are not named keep all of theirs."""
_OF_ALL_CLIENTS: Final = ("_retry", "endpoints", "partitions", "sdk-default-configuration")
_OF_A_SERVICE: Final = ("service-2", "endpoint-rule-set-1")
_reading: Final = threading.Lock()


class _Files(JSONFileLoader):  # type: ignore[misc]  # the SDK has no types
    def load_file(self, file_path: str) -> Any:
        text = _read(file_path)
        if text is None:
            return None
        kind = Path(file_path).name
        if kind == "endpoints":
            return _endpoints(text)
        if kind != "service-2":
            return decode(text)
        kept = OPERATIONS.get(Path(file_path).parent.parent.name)
        found = decode(text) if kept is None else _with_operations(text, kept)
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


def read(service: str) -> None:
    """Let the loader of all sessions read what a client of a service is made from; call it in a thread.

    It takes up to 100 ms, most of it for looking through the folders of all services.

    Args:
        service: the SDK's name of it, such as `sqs`.
    """
    with _reading:  # two that read at once would keep two copies
        loader = descriptions()
        for name in _OF_ALL_CLIENTS:
            loader.load_data(name)
        for kind in _OF_A_SERVICE:
            loader.load_service_model(service, kind, api_version=None)  # as the SDK says it: the key of its cache


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


def _with_operations(text: bytes, kept: frozenset[str]) -> dict[str, Any]:
    """Read a service's description with these operations, each a method of the client, and the shapes that they need.

    Shapes of errors stay, whichever operation they belong to. The others are empty, not absent: the SDK's amendments to a
    description may add to any shape.
    """
    parts = _parts(text)
    operations = {name: decode(part) for name, part in _parts(parts.pop("operations")).items() if name in kept}
    described = _parts(parts.pop("shapes"))
    empty = {"type": "structure", "members": {}}
    shapes: dict[str, Any] = dict.fromkeys(described, empty)
    ahead = {name for name, part in described.items() if b'"exception"' in bytes(part)}.union(*map(_shapes_in, operations.values()))
    while ahead:
        reached = {name: decode(described.pop(name)) for name in ahead}
        shapes |= reached
        ahead = described.keys() & set().union(*map(_shapes_in, reached.values()))
    return {**{name: decode(part) for name, part in parts.items()}, "operations": operations, "shapes": shapes}


def _shapes_in(part: Any) -> Iterator[str]:
    """Yield the names of the shapes that an operation or a shape refers to."""
    if isinstance(part, dict):
        if isinstance(part.get("shape"), str):
            yield part["shape"]
        for inner in part.values():
            yield from _shapes_in(inner)
    elif isinstance(part, list):
        for inner in part:
            yield from _shapes_in(inner)


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
