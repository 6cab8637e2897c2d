"""Signature Version 4 of the request for a WebSocket to AWS IoT Core.

https://docs.aws.amazon.com/iot/latest/developerguide/protocols.html#mqtt-ws
"""

from __future__ import annotations

import hashlib
import hmac
from datetime import datetime
from typing import Final
from urllib.parse import quote

_SERVICE: Final = "iotdevicegateway"
_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_EMPTY: Final = hashlib.sha256(b"").hexdigest()
_EXPIRES: Final = 86_400
"""Seconds: the most that a signed request may be valid."""


def signed_path(host: str, region: str, now: datetime, *, access_key: str, secret_key: str, token: str | None) -> str:
    """Return the path and query of the WebSocket.

    Args:
        host: value of the request's header `Host`.
        region: region of the endpoint.
        now: time in UTC.
        access_key: id of the key.
        secret_key: the key.
        token: session token of temporary credentials; it is appended unsigned, which this service alone wants.
    """
    time, day = now.strftime("%Y%m%dT%H%M%SZ"), now.strftime("%Y%m%d")
    scope = f"{day}/{region}/{_SERVICE}/aws4_request"
    query = "&".join(
        (
            f"X-Amz-Algorithm={_ALGORITHM}",
            f"X-Amz-Credential={quote(f'{access_key}/{scope}', safe='')}",
            f"X-Amz-Date={time}",
            f"X-Amz-Expires={_EXPIRES}",
            "X-Amz-SignedHeaders=host",
        )
    )
    request = f"GET\n/mqtt\n{query}\nhost:{host}\n\nhost\n{_EMPTY}"
    to_sign = f"{_ALGORITHM}\n{time}\n{scope}\n{hashlib.sha256(request.encode()).hexdigest()}"
    key = f"AWS4{secret_key}".encode()
    for part in (day, region, _SERVICE, "aws4_request"):
        key = hmac.digest(key, part.encode(), hashlib.sha256)
    path = f"/mqtt?{query}&X-Amz-Signature={hmac.new(key, to_sign.encode(), hashlib.sha256).hexdigest()}"
    return path if token is None else f"{path}&X-Amz-Security-Token={quote(token, safe='')}"
