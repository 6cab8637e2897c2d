"""Whose name edgerouter acts in at Google: the configuration's fields, and the credentials they lead to."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from cryptography.hazmat.primitives.serialization import load_pem_private_key
from pydantic import Field, SecretStr, model_validator

from edgerouter import Section, Unauthorized

_DEFAULT_TOKEN_URI = "https://oauth2.googleapis.com/token"  # noqa: S105  (an address)
_NEEDED = {
    "service_account": ("client_email", "private_key"),
    "authorized_user": ("client_id", "client_secret", "refresh_token"),
    "external_account": ("audience", "credential_source", "subject_token_type", "token_url"),
    "impersonated_service_account": ("source_credentials", "service_account_impersonation_url"),
}
"""Kinds of credentials file that gcloud-aio-auth can use, and the fields that each must have."""


class GoogleFields(Section):
    """Fields shared by the sinks and the secret store.

    Without any credentials field the application default ones are used: the file that `GOOGLE_APPLICATION_CREDENTIALS` names,
    gcloud's own, or the metadata server of the machine.
    """

    project: str | None = Field(default=None, min_length=1, examples=["plant"])
    """Project id. Default: the one of the credentials, then `GOOGLE_CLOUD_PROJECT`, then the one of the machine."""
    credentials_file: Path | None = Field(default=None, examples=["/etc/edgerouter/google.json"])
    """A credentials file: a service account's key, an external account (workload identity), gcloud's own login."""
    credentials_json: SecretStr | None = None
    """The content of a credentials file, for keeping the whole of it in a secret."""
    client_email: str | None = Field(default=None, min_length=1, examples=["router@plant.iam.gserviceaccount.com"])
    """Service account to act as, with `private_key` in place of a file."""
    private_key: SecretStr | None = None
    """The service account's private key in PEM form; the two characters `\\n` count as a line break."""
    private_key_id: str | None = Field(default=None, examples=["1a2b3c4d5e6f"])
    """Id of that key; Google does not need it."""
    token_uri: str = Field(default=_DEFAULT_TOKEN_URI, examples=["https://oauth2.googleapis.com/token"])
    """Endpoint that exchanges `client_email` and `private_key` for access tokens."""
    impersonate: str | None = Field(default=None, min_length=1, examples=["writer@plant.iam.gserviceaccount.com"])
    """Act as this service account; the credentials need roles/iam.serviceAccountTokenCreator on it."""
    delegates: tuple[str, ...] = Field(default=(), examples=[["middle@plant.iam.gserviceaccount.com"]])
    """Service accounts between the credentials and `impersonate`, in order."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://", examples=["http://localhost:8085"])
    """Root of the service, such as `https://pubsub.example.com`, for private endpoints and emulators."""
    anonymous: bool = False
    """Send no credentials: for emulators."""

    @model_validator(mode="after")
    def _one_kind_of_credentials(self) -> Self:
        if (self.client_email is None) != (self.private_key is None):
            raise ValueError("client_email and private_key belong together: set both or none")
        given = {
            "client_email and private_key": self.client_email is not None,
            "credentials_json": self.credentials_json is not None,
            "credentials_file": self.credentials_file is not None,
            "anonymous": self.anonymous,
        }
        chosen = [name for name, is_given in given.items() if is_given]
        if len(chosen) > 1:
            raise ValueError(f"{' and '.join(chosen)} exclude each other")
        if self.delegates and self.impersonate is None:
            raise ValueError("delegates need impersonate")
        if self.endpoint and not self.anonymous and _is_plain_and_far(self.endpoint):
            raise ValueError("credentials are not sent over plain http to another machine: use https, or anonymous: true")
        return self


@dataclass(frozen=True, slots=True)
class Credentials:
    """Credentials in the form of a credentials file."""

    data: dict[str, Any]
    """Content of the file; empty = use the metadata server."""
    origin: str
    """Origin of the credentials, for messages to the operator."""

    def __repr__(self) -> str:
        return f"Credentials(origin={self.origin!r})"

    @property
    def identity(self) -> str:
        """Whom to grant a role."""
        return str(self.data.get("client_email") or f"the account of {self.origin}")

    @property
    def project(self) -> str | None:
        """The project that the credentials belong to."""
        project = self.data.get("project_id") or self.data.get("quota_project_id")
        return str(project) if project else None


def load_credentials(fields: GoogleFields) -> Credentials:
    """Find the credentials and check whatever can be checked without the network. Reads files.

    Raises:
        Unauthorized: a file or key that cannot be used.
    """
    if fields.client_email is not None and fields.private_key is not None:
        data = {
            "type": "service_account",
            "client_email": fields.client_email,
            "private_key": fields.private_key.get_secret_value(),
            "private_key_id": fields.private_key_id,
            "token_uri": fields.token_uri,
        }
        return _checked(data, "private_key")
    if fields.credentials_json is not None:
        return _checked(_parsed(fields.credentials_json.get_secret_value(), "credentials_json"), "credentials_json")
    if fields.credentials_file is not None:
        return _from_file(fields.credentials_file)
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return _from_file(Path(named))
    folder = os.environ.get("CLOUDSDK_CONFIG") or os.path.expanduser("~/.config/gcloud")  # noqa: PTH111  (a missing home is not an error)
    login = os.path.join(folder, "application_default_credentials.json")  # noqa: PTH118  (as above)
    if os.path.isfile(login):  # noqa: PTH113  (neither is an unreadable folder)
        return _from_file(Path(login))
    return Credentials({}, "the metadata server")


def _from_file(path: Path) -> Credentials:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unauthorized(f"credentials file {path} cannot be read: {error}") from error
    return _checked(_parsed(text, str(path)), str(path))


def _parsed(text: str, origin: str) -> dict[str, Any]:
    try:
        data = json.loads(text)
    except ValueError:
        data = None  # the error would show the text, which is a secret
    if not isinstance(data, dict):
        raise Unauthorized(f"{origin} is not a Google credentials file: not a JSON object")
    return data


def _checked(data: dict[str, Any], origin: str) -> Credentials:
    kind = data.get("type")
    if kind not in _NEEDED:
        raise Unauthorized(f"{origin}: credentials of type {kind!r}; edgerouter can use {', '.join(_NEEDED)}")
    missing = [name for name in _NEEDED[kind] if not data.get(name)]
    if missing:
        raise Unauthorized(f"{origin}: {kind} credentials without {', '.join(missing)}")
    if kind == "service_account":
        return Credentials({**data, "private_key": _usable_key(str(data["private_key"]), origin)}, origin)
    if kind == "external_account":
        return Credentials({**data, "credential_source": _subject_source(data["credential_source"], origin)}, origin)
    if kind == "impersonated_service_account" and data["source_credentials"].get("type") != "authorized_user":
        raise Unauthorized(
            f"{origin}: impersonation from {data['source_credentials'].get('type')!r}: "
            "use those credentials directly, with `impersonate` in the configuration"
        )
    return Credentials(data, origin)


def _usable_key(key: str, origin: str) -> str:
    """The key with real line breaks, however it travelled through environment variables."""
    key = key.strip().strip("\"'").replace("\\n", "\n").strip() + "\n"
    try:
        load_pem_private_key(key.encode(), password=None)
    except Exception as error:  # noqa: BLE001  (cryptography raises its own, ValueError, TypeError and more, by version)
        raise Unauthorized(
            f"{origin}: the private key is broken: not a whole, unencrypted PEM key ({type(error).__name__})"
        ) from None
    return key


def _subject_source(source: Any, origin: str) -> dict[str, Any]:
    """Name the type of an external account's token source, which gcloud-aio-auth 5.5 does not guess."""
    if not isinstance(source, dict) or not {"file", "url"} & source.keys():
        raise Unauthorized(f"{origin}: external account whose token comes neither from a file nor from a URL: not supported")
    return {"type": "file" if "file" in source else "url", **source}


def _is_plain_and_far(endpoint: str) -> bool:
    parts = urlsplit(endpoint)
    return parts.scheme == "http" and parts.hostname not in {"localhost", "127.0.0.1", "::1"}
