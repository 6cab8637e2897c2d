"""The one table that turns what Google's services and aiohttp raise into edgerouter's errors."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import aiohttp

from edgerouter import EdgerouterError, Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.http_client import UnboundedAnswer, explain_plain_port, retry_seconds

_BY_STATUS: dict[int, type[EdgerouterError]] = {
    400: Rejected,
    401: Unauthorized,
    403: Unauthorized,
    404: Unauthorized,
    413: Rejected,
    429: Throttled,
}
"""By HTTP status; any other one, 408, 409, 410, 499 and 5xx among them, is `Unavailable`."""

_BY_CODE: dict[str, type[EdgerouterError]] = {
    # https://cloud.google.com/pubsub/docs/reference/error-codes
    "ABORTED": Unavailable,
    "CANCELLED": Unavailable,
    "DEADLINE_EXCEEDED": Unavailable,
    "INTERNAL": Unavailable,
    "UNAVAILABLE": Unavailable,
    "UNKNOWN": Unavailable,
    "RESOURCE_EXHAUSTED": Throttled,
    "FAILED_PRECONDITION": Unauthorized,  # a disabled KMS key, a topic whose policy forbids the region
    # https://cloud.google.com/storage/docs/json_api/v1/status-codes: these come with 403
    "rateLimitExceeded": Throttled,
    "userRateLimitExceeded": Throttled,
    "quotaExceeded": Throttled,
    # these with 400; about the bytes of an object there is nothing that Cloud Storage could reject but their number
    "parseError": Unavailable,
    "uploadBrokenConnection": Unavailable,
    "wrongUrlForUpload": Unavailable,
    "invalidParameter": Unauthorized,
    "required": Unauthorized,
    "turnedDown": Unauthorized,
    "userProjectInconsistent": Unauthorized,
    "userProjectInvalid": Unauthorized,
    "userProjectMissing": Unauthorized,
}
"""By the `status` or `reason` in the body, which knows more than the HTTP status."""

_BY_REASON = {
    # https://cloud.google.com/apis/design/errors#error_info, domain googleapis.com
    "SERVICE_DISABLED": "enable the API in the project",
    "BILLING_DISABLED": "enable billing for the project",
    "ACCESS_TOKEN_SCOPE_INSUFFICIENT": "give this machine the access scope cloud-platform",
}
"""Remedies for errors that Google describes more precisely than by the status."""

NOT_GOOGLE = "and the answer is not one of Google's; is there a proxy in between, or is `endpoint` wrong?"
_TEXT_LIMIT = 300
_UPLOAD_ID = re.compile(r"upload_id=[\w-]+")
"""URL of an upload session: a reader of it can write the object."""
_DAMAGED = re.compile(
    r"hash|checksum|crc32c|content-range|content-length|content length|boundary|multipart|upload id|upload session|range header"
    r"|malformed request|expected \d+ bytes",
    re.IGNORECASE,
)
"""In the text of a 400 that is about what became of the request on its way: the same bytes, sent anew, can be taken."""
_KMS = re.compile(r"kms", re.IGNORECASE)
_SECONDS = re.compile(r"(\d+(?:\.\d+)?)s")


@dataclass(frozen=True, slots=True)
class Answer:
    """Content of an error's body."""

    code: str = ""
    """`RESOURCE_EXHAUSTED`, `rateLimitExceeded`, `invalid_grant`; empty if the body is not one of Google's."""
    text: str = ""
    retry_after: float | None = None
    """Seconds."""
    reason: str = ""
    """Of google.rpc.ErrorInfo, such as `SERVICE_DISABLED`."""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    """Of google.rpc.ErrorInfo: with exactly-once delivery, what is wrong with which acknowledgement id."""


def read_answer(error: aiohttp.ClientResponseError) -> Answer:
    """Read the error body that gcloud-aio put into the message as `<reason>: <body>`."""
    _, brace, rest = error.message.partition("{")
    try:
        body: Any = json.loads(brace + rest)
    except ValueError:
        return Answer(retry_after=_header_seconds(error))
    told = body.get("error") if isinstance(body, dict) else None
    if isinstance(told, str):  # OAuth 2.0, RFC 6749 5.2
        return Answer(told, _clip(body.get("error_description", "")), _header_seconds(error))
    if not isinstance(told, dict):
        return Answer(retry_after=_header_seconds(error))
    reasons = [item.get("reason", "") for item in told.get("errors", ()) if isinstance(item, dict)]
    code = told.get("status") or next(iter(reasons), "")
    info = _detail(told, "ErrorInfo")
    metadata = info.get("metadata")
    return Answer(
        str(code),
        _clip(told.get("message", "")),
        _told_seconds(told) or _header_seconds(error),
        str(info.get("reason", "")),
        metadata if isinstance(metadata, dict) else {},
    )


def translate(error: Exception, doing: str, *, hint: str = "") -> Unavailable | Rejected:
    """The edgerouter error for what a call raised.

    Args:
        error: what came out of gcloud-aio or aiohttp.
        doing: what was tried, such as `publish to projects/p/topics/t`.
        hint: what the operator can do about a refusal, such as the role to grant.
    """
    if isinstance(error, Unavailable | Rejected):
        return error
    if isinstance(error.__cause__, UnboundedAnswer):
        return Unavailable(f"{doing}: {error.__cause__.message}")
    if isinstance(error, aiohttp.ClientResponseError) and error.status >= 400:
        return _translate_response(error, doing, hint)
    if isinstance(error, aiohttp.ClientConnectorSSLError) and (plain := explain_plain_port(error)):
        return Unauthorized(f"{doing}: {error.host} {plain}")
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return Unauthorized(f"{doing}: no secure connection to {error.host}: {error.os_error}; is the device's clock right?")
    if isinstance(error, aiohttp.InvalidURL):
        return Unauthorized(f"{doing}: not a URL: {error.url}")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{doing}: no answer in time; it may have been taken")
    if isinstance(error, aiohttp.ClientError | OSError):
        return Unavailable(f"{doing}: {_clip(error) or type(error).__name__}")
    return Unavailable(f"{doing}: the answer is not one of Google's ({type(error).__name__})")


def _translate_response(error: aiohttp.ClientResponseError, doing: str, hint: str) -> Unavailable | Rejected:
    answer = read_answer(error)
    kind = _BY_CODE.get(answer.code) or _BY_STATUS.get(error.status, Unavailable)
    if error.status in {400, 404} and not answer.code:
        kind = Unavailable if error.status == 400 else Unauthorized
        return kind(f"{doing}: {error.status}, {NOT_GOOGLE}")
    if kind is Rejected and error.status == 400 and _DAMAGED.search(answer.text):
        kind = Unavailable
    if _KMS.search(answer.text):
        hint = ""  # Google says itself who needs which role on the key
        if kind is Rejected:
            kind = Unauthorized  # the key of the configuration, not the message
    text = f"{doing}: {error.status} {answer.code} {answer.text}".rstrip()
    if kind is Rejected:
        return Rejected(text)
    if kind is Unauthorized:
        hint = _BY_REASON.get(answer.reason, hint)
        return Unauthorized(f"{text}; {hint}" if hint else text, retry_after=answer.retry_after)
    if kind is Throttled:
        return Throttled(text, retry_after=answer.retry_after)
    return Unavailable(text, retry_after=answer.retry_after)


def _told_seconds(told: dict[str, Any]) -> float | None:
    """The wait of google.rpc.RetryInfo, such as `"retryDelay": "3.5s"`."""
    match = _SECONDS.fullmatch(str(_detail(told, "RetryInfo").get("retryDelay", "")))
    return float(match[1]) if match else None


def _detail(told: dict[str, Any], name: str) -> dict[str, Any]:
    """The detail of a type of google.rpc; empty if there is none."""
    for detail in told.get("details", ()):
        if isinstance(detail, dict) and str(detail.get("@type", "")).endswith(f"google.rpc.{name}"):
            return detail
    return {}


def _header_seconds(error: aiohttp.ClientResponseError) -> float | None:
    return retry_seconds(error.headers.get("Retry-After")) if error.headers is not None else None


def _clip(text: object) -> str:
    flat = _UPLOAD_ID.sub("upload_id=...", " ".join(str(text).split()))
    return flat if len(flat) <= _TEXT_LIMIT else flat[:_TEXT_LIMIT] + "..."
