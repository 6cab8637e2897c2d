"""Maps an HTTP answer, or its absence, to an error of the sink: RFC 9110 in one table."""

from __future__ import annotations

import aiohttp

from edgerouter.errors import Rejected, Throttled, Unauthorized, Unavailable
from edgerouter.http_client import UnboundedAnswer, retry_seconds
from edgerouter.masking import mask_first

_SOMEBODY_MUST_ACT = {
    401: "not authenticated",
    402: "payment required",
    403: "not permitted",
    404: "no such resource",
    405: "method not allowed there",
    406: "not acceptable there",
    407: "the proxy requires authentication",
    410: "the resource is gone",
    411: "a Content-Length is required",
    412: "a precondition in the headers failed",
    414: "the url is too long",
    415: "content type not supported there",
    417: "an expectation in the headers failed",
    421: "misdirected request",
    426: "another protocol version is required",
    428: "a precondition is required in the headers",
    451: "unavailable for legal reasons",
}
"""Answers that concern the destination, not the message: no message is rejected for them."""
_ABOUT_THE_MESSAGE = {400, 409, 413, 422, 431}
"""Answers after which the same bytes will never be accepted (431: the topic or content type of a single payload is a header)."""
_MOVED = {300, 301, 302, 303, 305, 307, 308}
_EXCERPT = 200


def error_of(status: int, retry_after: str | None, text: str, where: str) -> Unavailable | Rejected:
    """Return the error for an answer outside 200 to 299.

    Args:
        status: outside 200 to 299.
        retry_after: value of the `Retry-After` header.
        text: beginning of the answer's body, without secrets.
        where: the address, without secrets.
    """
    said = f": {text}" if text else ""
    wait = retry_seconds(retry_after)
    if status == 429 or (status == 503 and wait is not None):
        return Throttled(f"{where} answers {status}, too many requests{said}", retry_after=wait)
    if status in _MOVED:
        return Unauthorized(f"{where} answers {status}: the resource has moved; change the url{said}")
    if status in _SOMEBODY_MUST_ACT:
        return Unauthorized(f"{where} answers {status}, {_SOMEBODY_MUST_ACT[status]}{said}")
    if status in _ABOUT_THE_MESSAGE:
        return Rejected(f"{where} answers {status}{said}")
    if 400 <= status <= 599:
        return Unavailable(f"{where} answers {status}{said}", retry_after=wait)
    return Unavailable(f"{where} answers {status:03}, which is neither success nor failure{said}")


def unreachable(error: Exception, where: str) -> Unavailable:
    """Return the error for a connection that failed before the answer arrived."""
    if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientConnectorSSLError):
        return Unauthorized(f"{where}: TLS: {error.os_error if hasattr(error, 'os_error') else error}")
    if isinstance(error, aiohttp.ClientConnectorError):
        return Unavailable(f"{where} cannot be reached: {error.os_error.strerror or type(error.os_error).__name__}")
    if isinstance(error, TimeoutError):
        return Unavailable(f"{where} cannot be reached: the connection timed out")
    if isinstance(error, aiohttp.ClientResponseError):
        why = f": {error.message}" if isinstance(error.__cause__, UnboundedAnswer) else ""
        return Unavailable(f"{where} does not answer in valid HTTP{why}")
    return Unavailable(f"{where}: the connection broke: {type(error).__name__}")


def excerpt(body: bytes) -> str:
    """Return the beginning of an answer's body on one line, with secrets masked."""
    text = body[: 8 * _EXCERPT].decode(errors="replace")
    return mask_first(" ".join("".join([character if character.isprintable() else " " for character in text]).split()), _EXCERPT)
