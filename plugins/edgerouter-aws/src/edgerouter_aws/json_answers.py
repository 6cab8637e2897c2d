"""Answers to requests of the JSON protocol that are not JSON: of proxies and portals, and of services that speak the older XML."""

from __future__ import annotations

import json
import re
from typing import Any

_CODE = re.compile(r"<Code>\s*([\w.:-]+)\s*</Code>")
_TEXT = re.compile(r"<Message>([^<]*)</Message>")
_MOST_TEXT = 300
"""Most characters of an unrecognised answer to quote in an error."""


def as_json(response_dict: dict[str, Any], **_: Any) -> None:
    """Convert an answer to the form that the SDK's parser expects; any other form makes it fail with unrelated errors.

    A failure keeps its code, so that throttling is recognised in either form. A success that cannot be parsed becomes empty.
    """
    body = response_dict.get("body")
    if not isinstance(body, bytes) or not body:
        return
    is_object = body.lstrip()[:1] == b"{"
    if is_object and (body.isascii() or _is_text(body)):
        return
    if response_dict["status_code"] < 300:
        response_dict["body"] = b""
        return
    text = body.decode(errors="replace")
    code, message = _CODE.search(text), _TEXT.search(text)
    told = {"message": message[1] if message else " ".join(text[:_MOST_TEXT].split())}
    if code is not None:
        told["__type"] = code[1]
    response_dict["body"] = json.dumps(told).encode()


def _is_text(body: bytes) -> bool:
    try:
        body.decode()
    except UnicodeDecodeError:
        return False
    return True
