"""Signature Version 4 for requests that differ only in body, time and credentials: botocore's, with what they share kept.

https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest

_TIME = "%Y%m%dT%H%M%SZ"
_DATE_LENGTH = len("20261128")


@dataclass(frozen=True, slots=True, repr=False)  # it holds secrets
class _Shared:
    """Parts that all requests have in common which the same credentials sign on the same day."""

    credentials: Any
    date: str
    scope: str
    before: str
    """Canonical request up to the time, which stands in the header `x-amz-date`."""
    after: str
    """Canonical request from behind the time up to the digest of the body."""
    authorization: str
    """Header `Authorization` up to the signature."""
    key: bytes
    """Signing key, valid for the day, region and service."""


class Signer:
    """Signs POST requests to one address.

    Args:
        url: address of the requests.
        headers: headers of every request.
        region: signing region.
        service: signing name of the service.
    """

    def __init__(self, url: str, headers: Mapping[str, str], *, region: str, service: str) -> None:
        self._url, self._headers = url, dict(headers)
        self._region, self._service = region, service
        self._shared: _Shared | None = None

    def sign(self, body: bytes, credentials: Any, seconds: float | None = None) -> dict[str, str]:
        """Return the headers that sign a request with this body, to be sent beside those of every request.

        Args:
            body: body of the request.
            credentials: botocore's frozen credentials.
            seconds: since 1970; by default now.
        """
        now = time.strftime(_TIME, time.gmtime(seconds))
        shared = self._shared
        if shared is None or shared.date != now[:_DATE_LENGTH] or shared.credentials != credentials:
            shared = self._shared = self._share(credentials, now)
        canonical = f"{shared.before}{now}{shared.after}{hashlib.sha256(body).hexdigest()}"
        text = f"AWS4-HMAC-SHA256\n{now}\n{shared.scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
        signature = hmac.digest(shared.key, text.encode(), "sha256").hex()
        headers = {"X-Amz-Date": now, "Authorization": shared.authorization + signature}
        if credentials.token:
            headers["X-Amz-Security-Token"] = credentials.token
        return headers

    def _share(self, credentials: Any, now: str) -> _Shared:
        """Let botocore decide what is signed, and in what form."""
        auth = SigV4Auth(credentials, self._service, self._region)
        request = AWSRequest("POST", self._url, self._headers)
        request.context["timestamp"] = now
        request.headers["X-Amz-Date"] = now
        if credentials.token:
            request.headers["X-Amz-Security-Token"] = credentials.token
        canonical, _, _ = auth.canonical_request(request).rpartition("\n")
        before, name, after = canonical.partition("\nx-amz-date:")
        scope = auth.credential_scope(request)
        names = auth.signed_headers(auth.headers_to_sign(request))
        return _Shared(
            credentials,
            now[:_DATE_LENGTH],
            scope,
            before + name,
            f"{after.removeprefix(now)}\n",
            f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={names}, Signature=",
            _key(credentials.secret_key, scope),
        )


def _key(secret: str, scope: str) -> bytes:
    """Derive the signing key from the secret key by date, region and service in turn."""
    key = f"AWS4{secret}".encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return key
