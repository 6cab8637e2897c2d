"""Configuration of the Blob Storage sink, and the client built from it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, SecretStr, model_validator

from edgerouter import ByteSize, Duration, SinkConfig, Unauthorized
from edgerouter.objects import Compression, Framing, KeyTemplate
from edgerouter_azure.credentials import SUFFIXES, AzureFields, http_options, open_credential
from edgerouter_azure.sdk import load
from edgerouter_azure.transport import MOST_ANSWER_BYTES, open_transport

if TYPE_CHECKING:
    from azure.core.credentials_async import AsyncTokenCredential
    from azure.core.pipeline.transport import AioHttpTransport
    from azure.storage.blob.aio import BlobServiceClient

_ENDINGS: dict[Framing, str] = {
    "jsonl": ".jsonl",
    "jsonl-exact": ".jsonl",
    "raw-lines": ".txt",
    "length-prefixed": ".bin",
    "payload": "",
}
_HEADER = re.compile(r"[\x21-\x7e]?|[\x21-\x7e][\x20-\x7e]*[\x21-\x7e]")
_TAG_NAME, _TAG_VALUE = re.compile(r"[A-Za-z0-9 +./:=_-]{1,128}"), re.compile(r"[A-Za-z0-9 +./:=_-]{0,256}")
"""https://learn.microsoft.com/azure/storage/blobs/storage-manage-find-blobs: what index tags are made of"""
_LARGEST_PUT = 5000 * 1024**2
"""https://learn.microsoft.com/rest/api/storageservices/put-blob: one request, since version 2019-12-12"""
_LARGEST_BLOCK = 100 * 1024**2
"""https://learn.microsoft.com/rest/api/storageservices/append-block: since version 2022-11-02"""
_LARGEST_BLOCK_BEFORE = 4 * 1024**2


_ACCOUNT, _CONTAINER = re.compile(r"[a-z0-9]{3,24}"), re.compile(r"\$root|[a-z0-9](-?[a-z0-9]){2,62}")


def _account(name: str) -> str:
    if _ACCOUNT.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a storage account: 3 to 24 small letters and digits")
    return name


def _container(name: str) -> str:
    if _CONTAINER.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a container: 3 to 63 small letters, digits and single hyphens between them")
    return name


class BlobConfig(AzureFields, SinkConfig):
    """Configuration of `azure-blob`. The identity needs the role Storage Blob Data Contributor on the container."""

    connection_string: SecretStr | None = None
    """Connection string of the storage account, with a key or a shared access signature."""
    account: Annotated[str, AfterValidator(_account)] | None = Field(default=None, examples=["plantarchive"])
    """Instead of a connection string: the storage account, together with `account_key`, `sas_token` or `credential`."""
    account_key: SecretStr | None = None
    """A key of the account."""
    sas_token: SecretStr | None = None
    """A shared access signature that may create and write blobs, and for append blobs add to them and read them."""
    endpoint: str | None = Field(default=None, pattern=r"^https?://", examples=["http://127.0.0.1:10000/devstoreaccount1"])
    """URL of the account's Blob service, where it is not that of the cloud: a private link, an emulator."""
    container: Annotated[str, AfterValidator(_container)] = Field(examples=["telemetry"])
    """The container."""
    create_container: bool = True
    """Create the container if it is missing and we may."""
    blob_type: Literal["block", "append"] = "block"
    """`block`: each batch is a separate blob. `append`: batches are appended to a blob that grows, such as one for each hour."""
    key: str | None = Field(default=None, examples=["{topic}/{time:%Y/%m/%d/%H}/{id}.jsonl.gz"])
    """Name of the blob, a template (docs/reference/templates.md). Messages whose names differ in a folder go to different blobs. By
    default `{topic}/{time:%Y/%m/%d}/{time:%H%M%S}-{id}` for `block` and `{host}/{time:%Y/%m/%d/%H}/{sink}-{spool}` for `append`,
    with an ending for the framing, such as `.jsonl.gz`."""
    framing: Framing = "jsonl"
    """`jsonl`: one JSON object a line with topic, time, id and payload. `jsonl-exact`: the same with every payload as text, or as
    base64 where it is not text, so that any JSON parser restores every byte. `raw-lines`: each payload and a newline.
    `length-prefixed`: each payload after its length in 4 bytes. `payload`: one message a blob, its payload and nothing else."""
    compression: Literal["auto", "none", "gzip", "zstd"] = "auto"
    """Compression of blobs; `auto` follows the extension of `key`: `.gz` or `.zst`."""
    overwrite: bool = False
    """Replace a blob that is already there, instead of taking the same bytes under the same name as written."""
    roll_bytes: ByteSize = Field(default=1024**3, ge=1024**2)
    """An append blob that would grow beyond this is continued in another, with `.1`, `.2` ... in its name; also after the 50,000
    appends that the service allows. A batch larger than this (`batch.max_bytes`) has a blob to itself. At least
    1 MiB."""
    content_type: str | None = Field(default=None, pattern=r"^[\x21-\x7e]+/[\x20-\x7e]+$", examples=["application/x-ndjson"])
    """Media type of the blobs; by default what `framing` is."""
    content_encoding: Literal["auto", "none"] = "auto"
    """Declare the compression in the Content-Encoding property, so that browsers and HTTP clients undo it."""
    tier: Literal["hot", "cool", "cold", "archive"] | None = None
    """Access tier of block blobs; by default the account's."""
    metadata: dict[str, str] = Field(default={}, examples=[{"plant": "north"}])
    """Metadata of every blob; the names are identifiers, the values of ASCII."""
    tags: dict[str, str] = Field(default={}, max_length=10, examples=[{"plant": "north"}])
    """Index tags of every blob: letters of ASCII, digits, spaces and `+-./:=_`. A shared access signature then needs the
    permission `t`."""
    api_version: str | None = Field(default=None, pattern=r"^20\d\d-\d\d-\d\d$", examples=["2021-12-02"])
    """Version of the service's REST interface, for an emulator or an Azure Stack that does not know the newest."""
    connect_timeout: Duration = Field(default=20.0, gt=0)
    """Time to connect."""

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if (self.connection_string is None) == (self.account is None):
            raise ValueError("either connection_string or account is needed")
        if (self.connection_string or self.sas_token) and self.account_key:
            raise ValueError("account_key stands beside account alone: not with a connection_string or a sas_token")
        if self.connection_string and self.sas_token:
            raise ValueError("put the shared access signature into the connection_string, or use account and sas_token")
        if self.blob_type == "append" and self.framing == "payload":
            raise ValueError("framing: payload writes a blob for each message, which blob_type: append does not")
        if self.blob_type == "append" and self.tier is not None:
            raise ValueError("append blobs have no tier")
        if bad := [name for name in self.metadata if not name.isidentifier() or not name.isascii()]:
            raise ValueError(f"metadata names are identifiers, such as `site_name`: {', '.join(bad)}")
        if bad := [name for name, value in self.metadata.items() if not _HEADER.fullmatch(value)]:
            raise ValueError(f"metadata values are of ASCII, without spaces at their ends: {', '.join(bad)}")
        known = {name: value for name, value in self.tags.items() if "${" not in value}  # a secret is looked at when it is there
        if bad := [name for name, value in known.items() if not (_TAG_NAME.fullmatch(name) and _TAG_VALUE.fullmatch(value))]:
            raise ValueError(f"tags are of letters, digits, spaces and +-./:=_, at most 128 and 256 characters: {', '.join(bad)}")
        self.template()
        return self

    def template(self) -> KeyTemplate:
        """The parsed `key`.

        Raises:
            ValueError: what is wrong with it.
        """
        return KeyTemplate.parse(self._key(), unique=self.blob_type == "block")

    def chosen_compression(self) -> Compression:
        """`compression`, or what the key says."""
        return self.template().compression if self.compression == "auto" else self.compression

    def signature(self) -> str:
        """The shared access signature, of `sas_token` or of the connection string; empty where there is none."""
        if self.sas_token is not None:
            return self.sas_token.get_secret_value()
        return (
            ""
            if self.connection_string is None
            else _parts(self.connection_string.get_secret_value()).get("sharedaccesssignature", "")
        )

    def largest_request(self) -> int:
        """Bytes that one write may carry, whatever `roll_bytes` says."""
        if self.blob_type == "block":
            return _LARGEST_PUT
        return _LARGEST_BLOCK_BEFORE if self.api_version and self.api_version < "2022-11-02" else _LARGEST_BLOCK

    def _key(self) -> str:
        if self.key is not None:
            return self.key
        ending = _ENDINGS[self.framing]
        if ending and self.compression != "none":
            ending += ".zst" if self.compression == "zstd" else ".gz"
        if self.blob_type == "block":
            return "{topic}/{time:%Y/%m/%d}/{time:%H%M%S}-{id}" + ending
        return "{host}/{time:%Y/%m/%d/%H}/{sink}-{spool}" + ending


@asynccontextmanager
async def open_service(config: BlobConfig) -> AsyncIterator[BlobServiceClient]:
    """Create a client of the account, without the SDK's retries.

    Raises:
        Unauthorized: the connection string or the credential cannot be used.
    """
    await load("azure.storage.blob.aio")
    async with AsyncExitStack() as stack:
        keyless = config.connection_string is None and config.account_key is None and config.sas_token is None
        credential = await stack.enter_async_context(open_credential(config)) if keyless else None
        most_body = MOST_ANSWER_BYTES + (config.largest_request() if config.blob_type == "append" else 0)
        transport = await stack.enter_async_context(
            open_transport(config.ca_file, connect_timeout=config.connect_timeout, most_body=most_body)
        )
        try:
            service = _make(config, credential, transport)
        except ValueError as error:
            # the SDK's errors about invalid connection strings do not quote them
            raise Unauthorized(f"the storage account cannot be used: {error}") from None
        yield await stack.enter_async_context(service)


def _make(config: BlobConfig, credential: AsyncTokenCredential | None, transport: AioHttpTransport) -> BlobServiceClient:
    from azure.storage.blob.aio import BlobServiceClient  # noqa: PLC0415  (255 ms and 40 MB that only an open sink needs)

    options: dict[str, Any] = {
        **http_options(config),
        "max_single_put_size": _LARGEST_PUT,
        "user_agent": "edgerouter",
        "transport": transport,
    }
    if config.api_version is not None:
        options["api_version"] = config.api_version
    if config.connection_string is not None:
        # the SDK takes no spaces and no empty parts
        text = ";".join(f"{name}={value}" for name, value in _parts(config.connection_string.get_secret_value()).items())
        return BlobServiceClient.from_connection_string(text, **options)
    url = config.endpoint or f"https://{config.account}.blob.{SUFFIXES[config.cloud]['storage']}"
    if config.account_key is not None:
        key = {"account_name": config.account or "", "account_key": config.account_key.get_secret_value()}
        return BlobServiceClient(url, credential=key, **options)
    if config.sas_token is not None:
        return BlobServiceClient(url, credential=config.sas_token.get_secret_value().lstrip("?"), **options)
    return BlobServiceClient(url, credential=credential, **options)


def _parts(connection_string: str) -> dict[str, str]:
    """The parts of a connection string by their names in small letters."""
    pairs = [part.partition("=") for part in connection_string.split(";") if part.strip()]
    return {name.strip().lower(): value.strip() for name, _, value in pairs}
