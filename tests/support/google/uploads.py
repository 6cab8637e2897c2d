"""Bodies of uploads to Cloud Storage: the resource, and in multipart uploads its content."""

from __future__ import annotations

import json
import re
from typing import Any

from support.google.service import invalid, only

_RESOURCE = {  # metadata that an upload may set
    "name", "contentType", "contentEncoding", "storageClass", "customTime", "md5Hash", "metadata", "cacheControl",
}  # fmt: skip


def resource_of(text: bytes) -> dict[str, Any]:
    try:
        resource = json.loads(text)
    except ValueError:
        invalid("Parse Error")
    if not isinstance(resource, dict):
        invalid("Parse Error")
    only(resource, _RESOURCE, "")
    return resource


def multipart(content_type: str, body: bytes) -> tuple[dict[str, Any], bytes]:
    """Parse RFC 2387 with exactly two parts: the resource, then the content."""
    match = re.fullmatch(r'multipart/related; boundary="?([^"]+)"?', content_type)
    if match is None:
        invalid("Missing or malformed multipart boundary.")
    dashed = b"--" + match[1].encode()
    if not body.startswith(dashed + b"\r\n") or not body.rstrip(b"\r\n").endswith(b"\r\n" + dashed + b"--"):
        invalid("Malformed multipart body.")
    end = body.rindex(b"\r\n" + dashed + b"--")
    second = body.index(b"\r\n" + dashed + b"\r\n", len(dashed))
    first_head, _, first = body[len(dashed) + 2 : second].partition(b"\r\n\r\n")
    second_head, _, data = body[second + len(dashed) + 4 : end].partition(b"\r\n\r\n")
    if b"application/json" not in first_head.lower() or b"content-type:" not in second_head.lower():
        invalid("Malformed multipart body.")
    resource = resource_of(first)
    stated = re.search(rb"content-type: *([^\r\n]+)", second_head, re.IGNORECASE)
    resource.setdefault("contentType", stated[1].decode() if stated else "")
    return resource, data
