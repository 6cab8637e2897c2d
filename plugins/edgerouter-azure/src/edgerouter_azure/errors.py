"""The one table that turns what Azure's SDKs raise into edgerouter's errors."""

from __future__ import annotations

import re
import ssl
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from azure.core.exceptions import AzureError, ClientAuthenticationError, HttpResponseError

from edgerouter import EdgerouterError, Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.http_client import explain_plain_port, retry_seconds

_BY_CONDITION: Mapping[str, type[EdgerouterError]] = {
    # https://learn.microsoft.com/azure/event-hubs/exceptions-dotnet and AMQP 1.0, 2.8.15; anything else is Unavailable
    "com.microsoft:server-busy": Throttled,
    "com.microsoft:container-close": Throttled,
    "amqp:resource-limit-exceeded": Throttled,
    "amqp:unauthorized-access": Unauthorized,
    "com.microsoft:auth-failed": Unauthorized,
    "amqp:not-found": Unauthorized,
    "amqp:not-allowed": Unauthorized,
    "com.microsoft:entity-disabled": Unauthorized,
    "com.microsoft:argument-error": Unauthorized,
    "com.microsoft:argument-out-of-range": Unauthorized,
    "amqp:link:message-size-exceeded": Rejected,
    "amqp:decode-error": Rejected,
}
_BY_CODE: Mapping[str, type[EdgerouterError]] = {
    # https://learn.microsoft.com/rest/api/storageservices/blob-service-error-codes: finer than the status
    "InvalidResourceName": Rejected,
    "InvalidUri": Rejected,
    "OutOfRangeInput": Rejected,
    # the request was damaged on its way, or came apart; the same bytes can be taken
    "Crc64Mismatch": Unavailable,
    "InvalidBlobOrBlock": Unavailable,
    "InvalidBlockList": Unavailable,
    "InvalidMd5": Unavailable,
    "InvalidRange": Unavailable,
    "Md5Mismatch": Unavailable,
    "MissingContentLengthHeader": Unavailable,
    "LeaseIdMissing": Unavailable,
    "LeaseAlreadyPresent": Unavailable,
    "ContainerBeingDeleted": Unavailable,
    "ContainerDisabled": Unauthorized,
}
_BY_STATUS: Mapping[int, type[EdgerouterError]] = {
    400: Unauthorized, 401: Unauthorized, 403: Unauthorized, 404: Unauthorized, 407: Unauthorized,
    413: Rejected, 429: Throttled, 503: Throttled,
}  # fmt: skip
"""By HTTP status; any other is `Unavailable`. A 400 without a code from above speaks of the request, that is of the
configuration (a bad api_version, a malformed tag), not of a message."""

_HINTS: Mapping[str, str] = {
    # where a missing role is not what is wrong
    "KeyBasedAuthenticationNotPermitted": "the account takes no keys: use `credential` instead",
    "AccountIsDisabled": "",
    "InvalidAuthenticationInfo": "does the credential belong to the tenant of the account?",
    "ResourceNotFound": "is the account's name right?",
}

_BUSY_SECONDS = 4.0
"""Wait that the service advises on ServerBusy: https://learn.microsoft.com/azure/event-hubs/event-hubs-messaging-exceptions"""
_BUSY_CODE = re.compile(r"\b5000[29]\b")
_WAIT = re.compile(r"wait (\d+(?:\.\d+)?) seconds?", re.IGNORECASE)
_TOKEN_TIME = re.compile(
    r"ExpiredToken|AADSTS700024|not within its valid time range|Request date header too old|not valid in the specified time frame",
    re.IGNORECASE,
)
_WRONG_KEY = re.compile(
    r"InvalidSignature|MAC signature found in the HTTP request|invalid signature|Signature did not match"
    r"|formed correctly including the signature",
    re.IGNORECASE,
)
_LOGIN = re.compile(r"\bAADSTS\d")
_TO_SIGN = re.compile(r"\s*(?:Server used following string to sign|String to sign used was)")
_OF_REQUEST = re.compile(r"(?<=HTTP request) '[^']*'")
_REQUEST_ID = re.compile(r"\s*(?:RequestId:|TrackingId:|Trace ID:)")
_USER_OF_URL = re.compile(r"://[^/@\s'\"]+@")
"""aiohttp quotes a proxy with its password."""
_MOST_SKEW = 600.0
"""Seconds; the services take requests that are 15 minutes off."""
_TEXT_LIMIT = 400

CLOCK_HINT = "is the device's clock right?"


def translate(error: BaseException, doing: str, *, hint: str = "") -> Unavailable | Rejected:
    """The edgerouter error for what a call raised.

    Args:
        error: what came out of the SDK.
        doing: what was tried, such as `send to hub plant`.
        hint: what the operator can do about a refusal, such as the role to grant.
    """
    if isinstance(error, Unavailable | Rejected):
        return error
    if (bad := [cause for cause in _causes(error) if isinstance(cause, ssl.SSLCertVerificationError)]) != []:
        why = next((cause.verify_message for cause in bad if hasattr(cause, "verify_message")), "unknown authority")
        return Unauthorized(f"{doing}: the service's certificate is not trusted: {why}; {CLOCK_HINT}")
    if plain := next(filter(None, (explain_plain_port(cause) for cause in _causes(error) if isinstance(cause, ssl.SSLError))), ""):
        return Unauthorized(f"{doing}: the service {plain}")
    if isinstance(error, ClientAuthenticationError) and error.status_code is None:
        return Unauthorized(_explain(doing, _text(error), hint))
    if isinstance(error, HttpResponseError):
        return _translate_response(error, doing, hint)
    if isinstance(error, TimeoutError):
        return Unavailable(f"{doing}: no answer in time; it may have been taken")
    if isinstance(error, AzureError | OSError):
        return Unavailable(f"{doing}: {_text(error)}")
    if (condition := _condition(error)) is not None:
        return translate_condition(condition, _text(error), doing, hint=hint, status=getattr(error, "status_code", None))
    return Unavailable(f"{doing}: the service did not answer as Azure does ({type(error).__name__})")


def translate_at_opening(error: BaseException, doing: str, *, hint: str = "") -> Unavailable:
    """As `translate`, where there is no message that could be to blame, or that could have been taken."""
    if isinstance(error, TimeoutError):
        return Unavailable(f"{doing}: no answer in time")
    translated = translate(error, doing, hint=hint)
    return Unauthorized(str(translated)) if isinstance(translated, Rejected) else translated


def translate_condition(condition: str, text: str, doing: str, *, hint: str = "", status: Any = None) -> Unavailable | Rejected:
    """The edgerouter error for an AMQP error condition, or for the status of a put-token answer."""
    kind = _BY_CONDITION.get(condition, Unavailable)
    if isinstance(status, int) and status >= 400:
        kind = Unauthorized if status < 500 else Unavailable
    if kind is Unavailable and _BUSY_CODE.search(text):
        kind = Throttled
    text = _clip(text) or condition
    if kind is Rejected:
        return Rejected(f"{doing}: {text}")
    if kind is Throttled:
        asked = _WAIT.search(text)
        return Throttled(f"{doing}: {text}", retry_after=float(asked[1]) if asked else _BUSY_SECONDS)
    if kind is Unauthorized:
        if condition == "amqp:not-found" or status == 404:
            hint = "there is no such hub; is its name right?"
        elif condition == "com.microsoft:argument-out-of-range":
            hint = "is the partition id right?"
        elif condition == "com.microsoft:entity-disabled":
            hint = "the hub is disabled; enable it in Azure"
        return Unauthorized(_explain(doing, text, hint))
    return Unavailable(f"{doing}: {text}")


def _translate_response(error: HttpResponseError, doing: str, hint: str) -> Unavailable | Rejected:
    status = error.status_code or 0
    code = getattr(error, "error_code", None) or ""
    code = str(getattr(code, "value", code))  # an enumeration of the SDK
    kind = _BY_CODE.get(code) or _BY_STATUS.get(status, Unavailable)
    if isinstance(error, ClientAuthenticationError) and status < 500 and kind is not Throttled:
        kind = Unauthorized
    text = f"{doing}: {status} {code or _clip(error.reason or '')}"
    wait = retry_seconds((getattr(error.response, "headers", None) or {}).get("Retry-After"))
    if kind is Rejected:
        return Rejected(f"{text}: {_text(error)}")
    if kind is Throttled:
        return Throttled(text, retry_after=wait)
    if kind is Unauthorized:
        said = f"{_text(error)} {_detail(error)}".strip()
        hint = _HINTS.get(code, hint if status in {401, 403} else "")
        return Unauthorized(_explain(text, said, hint, skew=_skew(error)), retry_after=wait)
    return Unavailable(f"{text}: {_text(error)}", retry_after=wait)


def _explain(doing: str, text: str, hint: str, skew: float = 0.0) -> str:
    """Distinguish a wrong clock, a wrong key and a missing permission."""
    if abs(skew) > _MOST_SKEW:
        direction = "behind" if skew > 0 else "ahead of"
        hint = f"the device's clock is {abs(skew) / 60:.0f} minutes {direction} the service's"
    elif _TOKEN_TIME.search(text):
        hint = f"the token counts as expired: {CLOCK_HINT}"
    elif _LOGIN.search(text):
        hint = "the login was refused: are tenant, client and its secret or certificate right?"
    elif _WRONG_KEY.search(text):
        hint = "the key is wrong, or was regenerated, or belongs to another account or policy"
    return f"{doing}: {text}; {hint}" if hint else f"{doing}: {text}"


def _detail(error: HttpResponseError) -> str:
    """Why Blob Storage refused a login, without what was signed."""
    detail = (getattr(error, "additional_info", None) or {}).get("authenticationerrordetail") or ""
    return _clip(_OF_REQUEST.sub("", _TO_SIGN.split(str(detail))[0]))


def _skew(error: HttpResponseError) -> float:
    """Seconds that the service's clock is ahead of ours, by the `Date` of its answer."""
    try:
        told = parsedate_to_datetime(error.response.headers["Date"])  # type: ignore[union-attr]
        return (told - datetime.now(UTC)).total_seconds()
    except (AttributeError, KeyError, TypeError, ValueError):
        return 0.0


def _condition(error: BaseException) -> str | None:
    """The condition of an error of the SDK's AMQP client; taken by shape, so that a blob sink need not import that client."""
    condition = getattr(error, "condition", None)
    if condition is None:
        return None
    raw = getattr(condition, "value", condition)
    return raw.decode(errors="replace") if isinstance(raw, bytes) else str(raw)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    """The error, what the SDK wrapped in it, and what that came from."""
    seen: set[int] = set()
    todo = [error]
    while todo:
        each = todo.pop()
        if isinstance(each, BaseException) and id(each) not in seen:
            seen.add(id(each))
            yield each
            todo += [each.__cause__, each.__context__, getattr(each, "inner_error", None), getattr(each, "inner_exception", None)]
            todo += [getattr(each, "certificate_error", None), getattr(each, "os_error", None)]


def _text(error: BaseException) -> str:
    inner = getattr(error, "inner_exception", None)
    if isinstance(inner, aiohttp.ClientResponseError):
        return _clip(inner.message)  # the rest of its text is a repr, with the URL
    described = getattr(error, "status_description", None) or getattr(error, "description", None)
    if isinstance(described, bytes):
        described = described.decode(errors="replace")
    text = str(described or getattr(error, "message", None) or error)
    return _clip(_REQUEST_ID.split(text)[0]) or type(error).__name__


def _clip(text: str) -> str:
    flat = _USER_OF_URL.sub("://", " ".join(text.split()))
    return flat if len(flat) <= _TEXT_LIMIT else flat[:_TEXT_LIMIT] + "..."
