"""Names of a bucket: its stream, and the subjects of its keys (docs.nats.io, ADR-8)."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

BucketName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]+$")]
"""A configuration field that names a bucket."""


def stream_of(bucket: str) -> str:
    """Return the name of the stream that holds a bucket."""
    return f"KV_{bucket}"


def subject_prefix(bucket: str, domain: str | None = None) -> str:
    """Return the beginning of the subjects of a bucket's keys.

    Args:
        bucket: its name.
        domain: where the subject is published into another JetStream domain, which takes it through its API.
    """
    return f"$JS.{domain}.API.$KV.{bucket}." if domain is not None else f"$KV.{bucket}."
