"""Makes safe paths from hostile text: reversible escaping of each part, and a digest where a name would be too long."""

from __future__ import annotations

import re
from hashlib import sha256

MAX_PART_BYTES = 255
"""Longest name of a file or folder on the common file systems."""
MAX_KEY_BYTES = 1024
"""Longest key of S3, Cloud Storage and Blob Storage."""
MAX_PARTS = 200
"""Most parts of a path; Blob Storage accepts 254 path segments."""
NOTHING = "%FF"
"""Stands for an empty part; no text escapes to it, because UTF-8 has no byte FF."""

_UNSAFE = re.compile(
    r"[\x00-\x1f\x7f-\x9f%/\\\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufeff\ufffe\uffff]"
    r"|\.\Z"  # `.` and `..` would traverse; Blob Storage drops any other dot at the end of a part
)
_CUT_ESCAPE = re.compile(r"%[0-9A-F]?\Z")
_DIGEST_MARK = "%-"  # never the start of an escape


def escape(text: str) -> str:
    """Percent-encode one path part, so that two texts never give the same part. Empty stays empty."""
    return _UNSAFE.sub(_percent, text)


def _percent(match: re.Match[str]) -> str:
    return "".join([f"%{byte:02X}" for byte in match[0].encode("utf-8", "surrogatepass")])


def topic_path(topic: str) -> str:
    """Return a topic as a path, one part per level; two topics never give the same path."""
    return "/".join([escape(level) or NOTHING for level in topic.split("/")])


def fit(path: str, suffix: str) -> str:
    """Return `path` without empty and traversing parts, and with a digest in place of overlong ones.

    Args:
        path: escaped parts, between slashes.
        suffix: the end of the path that must be kept, such as `.jsonl.gz`.
    """
    parts = [part if part not in ("", ".", "..") else part.replace(".", "%2E") or NOTHING for part in path.split("/")]
    if len(path) > MAX_PART_BYTES // 4:  # a character has at most 4 bytes
        last = len(parts) - 1
        parts = [_fit_part(part, suffix if index == last else "") for index, part in enumerate(parts)]
    fitted = "/".join(parts)
    if len(fitted.encode()) <= MAX_KEY_BYTES and len(parts) <= MAX_PARTS:
        return fitted
    tail = f"/{_DIGEST_MARK}{_digest(path)}{suffix}"
    return _cut("/".join(parts[: MAX_PARTS - 1]), MAX_KEY_BYTES - len(tail.encode())).rstrip("/") + tail


def _fit_part(part: str, suffix: str) -> str:
    if len(part.encode()) <= MAX_PART_BYTES:
        return part
    tail = f"{_DIGEST_MARK}{_digest(part)}{suffix}"
    return _cut(part, MAX_PART_BYTES - len(tail.encode())) + tail


def _cut(text: str, size: int) -> str:
    return _CUT_ESCAPE.sub("", text.encode()[:size].decode(errors="ignore"))


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:32]
