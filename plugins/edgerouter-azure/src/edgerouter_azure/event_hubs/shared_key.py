"""Tokens made from a shared access key, as Event Hubs wants them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import time
from typing import Any
from urllib.parse import quote_plus

from azure.core.credentials import AccessToken


class SharedKeyCredential:
    """Signs tokens for whatever it is asked; the SDK asks again before one expires.

    https://learn.microsoft.com/azure/event-hubs/authenticate-shared-access-signature

    Args:
        policy: name of the shared access policy.
        key: its key.
        lifetime: seconds that a token is valid.
    """

    token_type = b"servicebus.windows.net:sastoken"

    def __init__(self, policy: str, key: str, lifetime: float) -> None:
        self._policy, self._key, self._lifetime = policy, key.encode(), lifetime

    async def get_token(self, *scopes: str, **_: Any) -> AccessToken:
        """A token for the first scope, the address of the hub."""
        resource, expires = quote_plus(scopes[0]), int(time.time() + self._lifetime)
        signature = base64.b64encode(hmac.digest(self._key, f"{resource}\n{expires}".encode(), hashlib.sha256))
        token = f"SharedAccessSignature sr={resource}&sig={quote_plus(signature)}&se={expires}&skn={quote_plus(self._policy)}"
        return AccessToken(token, expires)
