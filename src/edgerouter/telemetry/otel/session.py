"""The HTTP session of the exporter: a collector's answer is bounded, and never leads to another host with the key."""

from __future__ import annotations

from io import BytesIO
from typing import Any, Final

from requests import PreparedRequest, Response, Session
from requests.adapters import HTTPAdapter

MOST_ANSWER_BYTES: Final = 64 * 1024


class _Bounded(HTTPAdapter):
    """Reads the beginning of an answer, and closes the connection where there is more."""

    def send(self, request: PreparedRequest, stream: bool = False, *args: Any, **options: Any) -> Response:  # noqa: ARG002
        answer = super().send(request, True, *args, **options)
        bounded = Response()
        bounded.status_code, bounded.reason, bounded.url = answer.status_code, answer.reason, answer.url
        bounded.headers, bounded.request = answer.headers, request
        bounded.raw = BytesIO(answer.raw.read(MOST_ANSWER_BYTES))
        answer.close()
        return bounded


def bounded_session() -> Session:
    """Return a session that follows no redirect."""
    session = Session()
    session.max_redirects = 0
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Bounded())
    return session
