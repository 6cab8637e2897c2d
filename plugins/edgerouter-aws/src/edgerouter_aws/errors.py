"""Translates the errors of AWS and of its SDK to errors of the router, in one place for this distribution."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from botocore import exceptions as botocore_errors
from botocore.parsers import ResponseParserError

from edgerouter import Rejected, SecretMissing, Throttled, Unauthorized, Unavailable
from edgerouter.http_client import explain_plain_port, retry_seconds
from edgerouter_aws.codes import (
    BAD_KEY,
    NOT_ALLOWED,
    NOT_THERE,
    OF_THE_KEY,
    OF_THE_QUEUE,
    REJECTED,
    RETRY,
    SET_UP,
    THROTTLED,
    WRONG_REGION,
)


@dataclass(frozen=True, slots=True)
class Call:
    """Request to AWS, described for errors that name the remedy."""

    what: str
    """Such as `queue plant-alerts in eu-west-1`."""
    needs: str
    """Permission that a policy must grant, such as `sqs:SendMessage on arn:aws:sqs:eu-west-1:123456789012:plant-alerts`."""


class UnexpectedAnswer(Exception):
    """An answer that is not in the table: the router tries a bounded number of times, then finds the message that causes it."""


_OF_CREDENTIALS = frozenset(
    {"AssumeRole", "AssumeRoleWithWebIdentity", "AssumeRoleWithSAML", "CreateOAuth2Token", "CreateToken", "GetRoleCredentials"}
)
"""Requests that the SDK makes for credentials before ours, or in the middle of the day when they expire."""
_PREFIXES = ("AWS.SimpleQueueService.",)
_SKEW_WORTH_TELLING = 300  # AWS takes signatures that are up to five minutes off

_CREDENTIALS = (
    botocore_errors.NoCredentialsError,
    botocore_errors.PartialCredentialsError,
    botocore_errors.CredentialRetrievalError,
    botocore_errors.NoAuthTokenError,
    botocore_errors.TokenRetrievalError,
    botocore_errors.UnknownCredentialError,
    botocore_errors.SSOError,
    botocore_errors.InvalidConfigError,
    botocore_errors.RefreshWithMFAUnsupportedError,
)
_SETTINGS = (
    botocore_errors.NoRegionError,
    botocore_errors.InvalidRegionError,
    botocore_errors.ProfileNotFound,
    botocore_errors.ConfigNotFound,
    botocore_errors.ConfigParseError,
    botocore_errors.SSLError,
    botocore_errors.InvalidProxiesConfigError,
    botocore_errors.ParamValidationError,
    botocore_errors.BaseEndpointResolverError,
    botocore_errors.EndpointProviderError,
)
_MAYBE_TAKEN = (botocore_errors.ReadTimeoutError, botocore_errors.ConnectionClosedError, botocore_errors.ResponseStreamingError)


@contextmanager
def translated(call: Call) -> Iterator[None]:
    """Raise what happens inside as an error of edgerouter, without the SDK's own, whose text may hold parts of the request."""
    try:
        yield
    except (botocore_errors.ClientError, botocore_errors.BotoCoreError, ResponseParserError, aiohttp.ClientError, OSError) as error:
        raise translate(error, call) from None


@contextmanager
def of_service(call: Call) -> Iterator[None]:
    """As `translated`, for requests that hold no message: what would be a rejection says that something is set up wrongly."""
    try:
        with translated(call):
            yield
    except (Rejected, UnexpectedAnswer) as error:
        raise Unauthorized(str(error)) from None


def translate(error: Exception, call: Call) -> Unavailable | Rejected | UnexpectedAnswer:
    """The error of edgerouter that stands for one of the SDK, with what the operator can do about it."""
    if isinstance(error, botocore_errors.ClientError):
        if error.operation_name in _OF_CREDENTIALS:
            return _of_credentials(error, call)
        return _of_answer(error.response, call)
    if isinstance(error, _CREDENTIALS):
        return Unauthorized(f"{call.what}: no usable credentials: {error}")
    if isinstance(error, botocore_errors.SSLError) and (plain := explain_plain_port(error)):
        return Unauthorized(f"{call.what}: the service {plain}")
    if isinstance(error, _SETTINGS):
        return Unauthorized(f"{call.what}: {error}")
    if isinstance(error, _MAYBE_TAKEN):
        return Unavailable(f"{call.what}: no answer, so it may have been done: {_told(error)}")
    if isinstance(error, OSError) and error.filename is not None:
        return Unauthorized(f"{call.what}: {error.strerror}: {error.filename}")
    if isinstance(error, ResponseParserError):
        return Unavailable(f"{call.what}: the answer is not one of AWS; is there a captive portal or a proxy in between?")
    return Unavailable(f"{call.what}: {_told(error) or type(error).__name__}")


def _told(error: Exception) -> str:
    """Return the SDK's text without the object's key: equal errors read the same for every object."""
    inner = error.kwargs.get("error") if isinstance(error, botocore_errors.BotoCoreError) else error
    if isinstance(inner, aiohttp.ClientResponseError):
        return inner.message  # the rest of its text is a repr, with the URL
    text = str(error)
    url = error.kwargs.get("endpoint_url") if isinstance(error, botocore_errors.BotoCoreError) else None
    if not isinstance(url, str):
        return text
    return text.replace(url, "/".join(url.split("/")[:3]))


def _of_credentials(error: botocore_errors.ClientError, call: Call) -> Unavailable:
    """No message is to blame when there are no credentials to send it with."""
    asked = Call(
        f"{call.what}: credentials ({error.operation_name})",
        f"sts:{error.operation_name} on the role to who asks, and let the role's trust policy allow it",
    )
    found = _of_answer(error.response, asked)
    return found if isinstance(found, Unavailable) else Unauthorized(str(found))


def of_code(code: str, text: str, call: Call, *, sender_fault: bool) -> Unavailable | Rejected:
    """The error for one entry of a batch that SQS did not take.

    `SenderFault` says whether the entry itself is to blame; a code of the table that is about credentials, set-up or load
    counts more, because the message is good then.
    """
    known = _of_code(_plain(code), text, call, retry_after=None, clock="")
    if isinstance(known, Unavailable):
        return known
    if sender_fault:
        return Rejected(f"{call.what}: {code}: {text}")
    return Unavailable(f"{call.what}: {code}: {text}")


def _of_answer(answer: Mapping[str, Any], call: Call) -> Unavailable | Rejected | UnexpectedAnswer:
    details = answer.get("Error", {})
    metadata = answer.get("ResponseMetadata", {})
    headers: Mapping[str, str] = metadata.get("HTTPHeaders") or {}
    status = metadata.get("HTTPStatusCode", 0)
    code, text = _plain(str(details.get("Code", ""))), str(details.get("Message", ""))
    retry_after = retry_seconds(headers.get("retry-after"))
    if code in WRONG_REGION:
        region = headers.get("x-amz-bucket-region") or details.get("Region")
        return Unauthorized(f"{call.what}: it is in another region" + (f"; set region: {region}" if region else f": {text}"))
    if known := _of_code(code, text, call, retry_after, _clock(headers)):
        return known
    told = f"{call.what}: {code or 'no code'} ({status}): {text}"
    if status == 429:
        return Throttled(told, retry_after=retry_after)
    if status >= 500 or status in (0, 200, 408):
        return Unavailable(told, retry_after=retry_after)
    if status in (401, 403, 404, 407) or 300 <= status < 400:
        return Unauthorized(f"{told}; needed is {call.needs}")
    if status in (413, 414):
        return Rejected(told)
    if code in ("", str(status)):
        return Unavailable(f"{told}; the answer is not one of AWS: is there a proxy in between?")
    return UnexpectedAnswer(told)


def _of_code(code: str, text: str, call: Call, retry_after: float | None, clock: str) -> Unavailable | Rejected | None:
    if code in THROTTLED:
        return Throttled(f"{call.what}: {code}: {text}", retry_after=retry_after)
    if code in BAD_KEY:
        return Unauthorized(f"{call.what}: {BAD_KEY[code]} ({code}){clock}")
    if code in NOT_ALLOWED:
        return Unauthorized(f"{call.what}: permission is missing; grant {call.needs}" + (f" ({text})" if text else ""))
    if code in NOT_THERE:
        kind = SecretMissing if code == "ResourceNotFoundException" else Unauthorized
        return kind(f"{call.what}: {NOT_THERE[code]} ({code})")
    of_the_queue = code == "InvalidParameterValue" and any(word in text for word in OF_THE_QUEUE)
    if code in SET_UP or code.startswith(OF_THE_KEY) or of_the_queue:
        return Unauthorized(f"{call.what}: {code}: {text}")
    if code in RETRY:
        return Unavailable(f"{call.what}: {code}: {text}", retry_after=retry_after)
    if code in REJECTED:
        return Rejected(f"{call.what}: {code}: {text}")
    return None


def _plain(code: str) -> str:
    for prefix in _PREFIXES:
        code = code.removeprefix(prefix)
    return code


def _clock(headers: Mapping[str, str]) -> str:
    """Return the error of the device's clock, if it made a signature invalid."""
    try:
        skew = time.time() - parsedate_to_datetime(headers.get("date", "")).timestamp()
    except ValueError:
        return ""
    if abs(skew) < _SKEW_WORTH_TELLING:
        return ""
    return f"; the device's clock is {abs(skew):.0f} s {'ahead of' if skew > 0 else 'behind'} that of AWS"
