"""The secret store aws-secrets-manager: `${aws-secrets-manager:name}` and `${aws-secrets-manager:name#json-key}`."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Self

import msgspec
from pydantic import Field

from edgerouter import SecretStore, SecretStoreConfig, SecretStoreContext, Unauthorized, Unavailable
from edgerouter_aws.errors import Call, of_service
from edgerouter_aws.session import AwsSettings, open_client

_JUST_NOW = 5.0
"""Seconds. A sink that is refused opens again after a longer time, and so gets the new value of a rotated secret."""


class SecretsManagerConfig(AwsSettings, SecretStoreConfig):
    """AWS Secrets Manager."""

    version_stage: str = Field(default="AWSCURRENT", min_length=1, examples=["AWSPREVIOUS"])
    """Version of a secret to read."""


class SecretsManagerStore(SecretStore[SecretsManagerConfig]):
    """Reads secrets; what was read just now, for another key of the same secret or for another sink, is not read again."""

    def __init__(self, client: Any, config: SecretsManagerConfig) -> None:
        self._client = client
        self._stage = config.version_stage
        self._read: dict[str, tuple[float, Mapping[str, Any]]] = {}

    @classmethod
    @asynccontextmanager
    async def open(cls, config: SecretsManagerConfig, context: SecretStoreContext) -> AsyncIterator[Self]:  # noqa: ARG003  (reading disturbs nothing)
        """Make a client; AWS is asked when a secret is."""
        async with open_client("secretsmanager", config, Call("Secrets Manager", "secretsmanager:GetSecretValue")) as client:
            yield cls(client, config)

    async def get(self, name: str) -> str:
        """The value of a secret: its name or ARN; with `#key`, the value of that key of a JSON object.

        Raises:
            Unavailable: Secrets Manager cannot be reached, does not let us in, or has no such secret or key.
        """
        secret, _, key = name.partition("#")
        answer = await self._value(secret)
        text = answer.get("SecretString")
        if text is None:
            try:
                text = bytes(answer.get("SecretBinary") or b"").decode()
            except UnicodeDecodeError:
                raise Unauthorized(f"secret {secret} is not text") from None
        return _member(text, secret, key) if key else str(text)

    async def _value(self, secret: str) -> Mapping[str, Any]:
        now = time.monotonic()
        known = self._read.get(secret)
        if known is not None and now - known[0] < _JUST_NOW:
            return known[1]
        region = self._client.meta.region_name
        call = Call(f"secret {secret} in {region}", f"secretsmanager:GetSecretValue on {_resource(secret, region)}")
        with of_service(call):
            answer: Mapping[str, Any] = await self._client.get_secret_value(SecretId=secret, VersionStage=self._stage)
        if "SecretString" not in answer and "SecretBinary" not in answer:
            raise Unavailable(f"{call.what}: the answer is not one of Secrets Manager; is there a captive portal in between?")
        self._read[secret] = (now, answer)
        return answer


def _member(text: str, secret: str, key: str) -> str:
    """One value of a JSON object; what is not text is given as JSON. No error shows the secret."""
    try:
        members = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        raise Unauthorized(f"secret {secret} is not JSON, so it has no key {key!r}") from None
    if not isinstance(members, dict) or key not in members:
        raise Unauthorized(f"secret {secret} has no key {key!r}")
    value = members[key]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _resource(secret: str, region: str | None) -> str:
    """Return the ARN for a policy; AWS appends six characters to a secret's name."""
    return secret if secret.startswith("arn:") else f"arn:aws:secretsmanager:{region or '*'}:*:secret:{secret}-*"
