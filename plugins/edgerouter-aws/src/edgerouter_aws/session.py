"""Access to AWS: credentials, region, endpoint, proxy, and clients whose own retries are off."""

from __future__ import annotations

import asyncio
import logging
import os
import ssl
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, Self

from aiobotocore.config import AioConfig
from aiobotocore.credentials import (
    AioAssumeRoleCredentialFetcher,
    AioAssumeRoleWithWebIdentityCredentialFetcher,
    AioDeferredRefreshableCredentials,
)
from aiobotocore.session import AioSession
from botocore.exceptions import NoCredentialsError
from botocore.utils import FileWebIdentityTokenLoader
from pydantic import Field, SecretStr, model_validator

from edgerouter import Duration, Section, Unauthorized, __version__
from edgerouter_aws.connections import BoundedSession, in_pieces
from edgerouter_aws.descriptions import descriptions, read
from edgerouter_aws.errors import Call, of_service
from edgerouter_aws.json_answers import as_json

_READ_TIMEOUT = 900
"""Seconds without a byte of an answer; the router's own `timeout` ends a write long before."""
_JSON_SERVICES = ("sqs", "secretsmanager")
_CONNECTIONS = 1000
"""As many as the router allows writes at once."""

for _name in ("aiobotocore.credentials", "aiobotocore.tokens"):
    logging.getLogger(_name).setLevel(logging.ERROR)  # a warning with a traceback for what the sink's error says in one line


class AwsSettings(Section):
    """Credentials for AWS, and the way to reach it.

    With nothing set, the SDK's own chain finds credentials: environment, profile, web identity, SSO, container and instance roles.
    """

    region: str | None = Field(default=None, examples=["eu-west-1"])
    """Region, such as `eu-west-1`. By default that of the environment or the profile, or of the queue's URL or ARN."""
    access_key_id: str | None = Field(default=None, examples=["${env:AWS_KEY_ID}"])
    """Access key id of fixed credentials; with `secret_access_key`."""
    secret_access_key: SecretStr | None = None
    """Secret access key of fixed credentials."""
    session_token: SecretStr | None = None
    """Session token of temporary credentials; with both keys."""
    profile: str | None = Field(default=None, examples=["plant"])
    """Profile of the shared configuration files (`~/.aws/config`), which may also name a role, SSO, or a credential process."""
    role_arn: str | None = Field(default=None, examples=["arn:aws:iam::123456789012:role/router"])
    """Assume this role with the credentials found; it is renewed before it expires."""
    role_external_id: str | None = Field(default=None, examples=["plant-north"])
    """External id that the role's trust policy asks for."""
    role_session_name: str = Field(default="edgerouter", pattern=r"^[\w+=,.@-]{2,64}$", examples=["edge-7"])
    """Session name of the assumed role, as CloudTrail shows it."""
    role_duration: Duration = Field(default=3600.0, ge=900, le=43200)
    """Duration of one session of the assumed role."""
    web_identity_token_file: Path | None = Field(default=None, examples=["/var/run/secrets/token"])
    """File with a web identity token (OIDC) to assume `role_arn` with; read again at each renewal."""
    endpoint_url: str | None = Field(default=None, examples=["https://minio.plant.example:9000"])
    """Address of the service instead of the region's own: a VPC endpoint, or a compatible service such as MinIO."""
    sts_endpoint_url: str | None = Field(default=None, examples=["https://sts.eu-west-1.amazonaws.com"])
    """Address of STS, for `role_arn`, instead of the region's own."""
    use_fips_endpoint: bool = False
    """Use the endpoints that are validated for FIPS 140."""
    use_dualstack_endpoint: bool = False
    """Use the endpoints that also answer over IPv6."""
    proxy: SecretStr | None = None
    """Proxy for all requests, such as `http://user:password@proxy:3128`. By default that of the environment."""
    ca_bundle: Path | None = Field(default=None, examples=["/etc/ssl/certs/plant-ca.pem"])
    """File of the certificate authorities to trust instead of the built-in ones, for a proxy or service of your own."""
    connect_timeout: Duration = Field(default=10.0, gt=0)
    """Time to connect."""

    @model_validator(mode="after")
    def _credentials_are_whole(self) -> Self:
        if (self.access_key_id is None) != (self.secret_access_key is None):
            raise ValueError("access_key_id and secret_access_key belong together; one of them is missing")
        if self.session_token is not None and self.access_key_id is None:
            raise ValueError("session_token needs access_key_id and secret_access_key")
        if self.profile is not None and self.access_key_id is not None:
            raise ValueError("profile and access_key_id are two ways to say who we are; choose one")
        if self.web_identity_token_file is not None and self.role_arn is None:
            raise ValueError("web_identity_token_file needs role_arn, the role to assume with it")
        return self


def regional(settings: AwsSettings, service: str) -> tuple[str, ...]:
    """Return the URL of a service in a region, where the settings name the region and no other address."""
    region = settings.region or os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    if not region or settings.endpoint_url or settings.use_fips_endpoint or settings.use_dualstack_endpoint:
        return ()
    return (f"https://{service}.{region}.amazonaws.com{'.cn' if region.startswith('cn-') else ''}",)


@asynccontextmanager
async def open_client(
    service: str,
    settings: AwsSettings,
    call: Call,
    *,
    region: str | None = None,
    endpoint: str | None = None,
    options: Mapping[str, Any] | None = None,
) -> AsyncIterator[Any]:
    """A client of one service; keep it for as long as the sink is open.

    Args:
        service: botocore's name of it, such as `sqs`.
        settings: of the user.
        call: what errors of opening are about.
        region: where the user's destination says so; `settings.region` counts more.
        endpoint: likewise; `settings.endpoint_url` and the SDK's variables count more.
        options: further arguments of botocore's `Config`.

    Raises:
        Unavailable: the settings cannot be used, such as an unknown profile.
    """
    if settings.ca_bundle is not None:
        try:
            await asyncio.to_thread(ssl.create_default_context, cafile=str(settings.ca_bundle))
        except OSError as error:  # the SDK finds it at the first request, and does not say which file
            raise Unauthorized(f"{call.what}: ca_bundle {settings.ca_bundle} cannot be used: {error.strerror or error}") from error
    async with AsyncExitStack() as stack:
        with of_service(call):
            # the SDK would read it on the event loop, 60 ms and more
            session = await asyncio.to_thread(_session, settings, service)
            arguments = _arguments(settings, options or {})
            arguments["region_name"] = settings.region or region or _region(session)
            if any(os.environ.get(name) for name in ("AWS_ENDPOINT_URL", f"AWS_ENDPOINT_URL_{service.upper()}")):
                endpoint = None
            if settings.role_arn is not None:
                await _assume_role(session, settings, arguments)
            else:
                arguments |= _keys(settings)
            client = await stack.enter_async_context(
                session.create_client(service, endpoint_url=settings.endpoint_url or endpoint, **arguments)
            )
            client.meta.events.register("before-send", in_pieces)
            if service in _JSON_SERVICES:
                client.meta.events.register(f"before-parse.{service}", as_json)
        yield client


async def read_credentials(settings: AwsSettings, call: Call) -> Any:
    """Return the SDK's credentials for requests that we sign ourselves; they renew themselves where they can.

    Raises:
        Unavailable: there are none, or the settings cannot be used.
    """
    with of_service(call):
        session = await asyncio.to_thread(_session, settings)
        keys = _keys(settings)
        if settings.role_arn is not None:
            await _assume_role(session, settings, {**_arguments(settings, {}), "region_name": settings.region or _region(session)})
        elif keys:
            session.set_credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"])
        credentials = await session.get_credentials()
        if credentials is None:
            raise NoCredentialsError
        return credentials


def _session(settings: AwsSettings, *services: str) -> AioSession:
    """Make a session, and read what its clients of these services are made from; in a thread."""
    session = AioSession(profile=settings.profile)
    session.register_component("data_loader", descriptions())
    for service in (*services, *(("sts",) if settings.role_arn is not None else ())):
        read(service)
    return session


def _region(session: AioSession) -> str | None:
    """As the environment or the profile says; this SDK does not read the variable as AWS's other SDKs and containers call it."""
    return session.get_config_variable("region") or os.environ.get("AWS_REGION")


def _arguments(settings: AwsSettings, options: Mapping[str, Any]) -> dict[str, Any]:
    proxies = None
    if settings.proxy is not None:
        address = settings.proxy.get_secret_value()
        proxies = {"http": address, "https": address}
    config = AioConfig(
        connect_timeout=settings.connect_timeout,
        read_timeout=_READ_TIMEOUT,
        max_pool_connections=_CONNECTIONS,
        parameter_validation=False,  # it costs as much as all else together, and we make the parameters
        http_session_cls=BoundedSession,
        retries={"total_max_attempts": 1, "mode": "standard"},  # the router owns retries
        proxies=proxies,
        use_fips_endpoint=settings.use_fips_endpoint or None,
        use_dualstack_endpoint=settings.use_dualstack_endpoint or None,
        user_agent=f"edgerouter/{__version__}",  # the SDK's own is put together anew for each request
        **options,
    )
    return {"config": config, "verify": str(settings.ca_bundle) if settings.ca_bundle is not None else None}


def _keys(settings: AwsSettings) -> dict[str, Any]:
    if settings.access_key_id is None or settings.secret_access_key is None:
        return {}
    return {
        "aws_access_key_id": settings.access_key_id,
        "aws_secret_access_key": settings.secret_access_key.get_secret_value(),
        "aws_session_token": settings.session_token.get_secret_value() if settings.session_token is not None else None,
    }


async def _assume_role(session: AioSession, settings: AwsSettings, of_service: Mapping[str, Any]) -> None:
    """Let the session sign with a role that it assumes when first needed, and again before it expires."""
    extra: dict[str, Any] = {"RoleSessionName": settings.role_session_name, "DurationSeconds": int(settings.role_duration)}
    arguments = {**of_service, "config": _arguments(settings, {})["config"]}
    base = await asyncio.to_thread(_session, settings)
    creator = partial(_sts_client, base, settings.sts_endpoint_url, arguments)
    fetcher: Any
    if settings.web_identity_token_file is not None:
        loader = FileWebIdentityTokenLoader(str(settings.web_identity_token_file))
        fetcher = AioAssumeRoleWithWebIdentityCredentialFetcher(creator, loader, settings.role_arn, extra_args=extra)
        method = "assume-role-with-web-identity"
    else:
        if settings.role_external_id is not None:
            extra["ExternalId"] = settings.role_external_id
        keys = _keys(settings)
        if keys:
            base.set_credentials(keys["aws_access_key_id"], keys["aws_secret_access_key"], keys["aws_session_token"])
        source = await base.get_credentials()
        if source is None:
            raise NoCredentialsError
        fetcher = AioAssumeRoleCredentialFetcher(creator, source, settings.role_arn, extra_args=extra)
        method = "assume-role"
    session._credentials = AioDeferredRefreshableCredentials(refresh_using=fetcher.fetch_credentials, method=method)  # noqa: SLF001  (botocore has no public way to give a session refreshable credentials)


def _sts_client(session: AioSession, endpoint_url: str | None, arguments: dict[str, Any], service: str, **more: Any) -> Any:
    config = arguments["config"]
    if "config" in more:
        config = config.merge(more.pop("config"))
    return session.create_client(service, endpoint_url=endpoint_url, **{**arguments, **more, "config": config})
