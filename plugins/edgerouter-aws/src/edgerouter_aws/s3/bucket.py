"""One S3 bucket as the sinks see it: store an object whole, in one request or in parts, and find out whether that is allowed."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any

from botocore.exceptions import BotoCoreError, ClientError
from pydantic import AfterValidator

from edgerouter import Unavailable
from edgerouter_aws.errors import Call, of_service, translated
from edgerouter_aws.session import AwsSettings, open_client

MOST_OBJECT_BYTES = 5 * 1024**4
_MOST_PARTS = 10_000
_ABORT_SECONDS = 5.0
_CHECKSUM = "CRC32"
"""The SDK's default."""
_PLACE = ("Bucket", "Key", "ExpectedBucketOwner")
_NOT_S3 = "the answer is not one of S3; is there a captive portal or a proxy in between?"
_MORE_ACTIONS = {"Tagging": "s3:PutObjectTagging", "ACL": "s3:PutObjectAcl"}
"""Permissions needed beside storing, by parameter."""


_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}|arn:.+")


def _checked(name: str) -> str:
    if "${" not in name and _NAME.fullmatch(name) is None:
        raise ValueError(f"{name!r} is not the name of a bucket: letters, digits, dots and hyphens, or the ARN of an access point")
    return name


BucketName = Annotated[str, AfterValidator(_checked)]
"""A configuration field that names a bucket; buckets made before 2018 have up to 255 characters."""


@dataclass(frozen=True, slots=True)
class Bucket:
    """A bucket that was reached."""

    client: Any
    name: str
    call: Call
    parameters: Mapping[str, Any] = field(default_factory=dict)
    """Parameters of every object: encryption, storage class, tags ..."""
    create_only: bool = False
    """Store an object only where there is none; one that is there already counts as stored."""
    multipart_bytes: int = 64 * 1024**2
    """Objects over this size are stored in parts of this size."""

    async def put(self, key: str, body: bytes, more: Mapping[str, Any]) -> str | None:
        """Store one object; storing the same one again changes nothing.

        Returns:
            ETag of the object, and its version where the bucket keeps versions; `None` if it was there before.

        Raises:
            Unavailable, Rejected: it is not known to be stored.
        """
        parameters = {"Bucket": self.name, "Key": key, **self.parameters, **more}
        with translated(self.call):
            try:
                if len(body) > self.multipart_bytes:
                    answer = await self._put_in_parts(parameters, body)
                else:
                    answer = await self.client.put_object(Body=body, **self._condition, **parameters)
            except ClientError as error:
                if self.create_only and error.response.get("Error", {}).get("Code") == "PreconditionFailed":
                    return None
                raise
        if not answer.get("ETag"):
            raise Unavailable(f"{self.call.what}: {_NOT_S3}")
        tag, version = str(answer["ETag"]), answer.get("VersionId")
        return f"{tag} version {version}" if version else tag

    async def holds(self, key: str, size: int) -> bool:
        """Ask for an object of this size; False where it is not there, or where looking is not allowed.

        Raises:
            Unavailable: the service did not answer.
        """
        place = {name: value for name, value in self.parameters.items() if name in _PLACE}
        with of_service(self.call):
            try:
                found = await self.client.head_object(Bucket=self.name, Key=key, **place)
            except ClientError as error:
                if error.response.get("ResponseMetadata", {}).get("HTTPStatusCode") in (403, 404):
                    return False
                raise
        return bool(found.get("ContentLength") == size)

    async def probe(self, prefix: str, *, parts: bool) -> None:
        """Begin a multipart upload and give it up: nothing appears in the bucket.

        Args:
            prefix: start of the keys that may be allowed.
            parts: store a part of one byte too. It shows what beginning alone does not: SSE-KMS needs `kms:Decrypt` for it, which
                objects of one request do without.

        Raises:
            Unavailable: with what is missing.
        """
        place = {"Bucket": self.name, "Key": f"{prefix}.edgerouter-check"}
        with of_service(self.call):
            upload = await self._begin({**place, **self.parameters})
            try:
                if parts:
                    await self._put_part(1, b"\n", upload, place)
            finally:
                await self._abort(place, upload)

    @property
    def _condition(self) -> dict[str, str]:
        return {"IfNoneMatch": "*"} if self.create_only else {}

    @property
    def _algorithm(self) -> dict[str, str]:
        """Name the checksum of the parts when the upload begins; otherwise S3 does not complete it."""
        return {"ChecksumAlgorithm": _CHECKSUM} if self.client.meta.config.request_checksum_calculation == "when_supported" else {}

    async def _put_in_parts(self, parameters: dict[str, Any], body: bytes) -> Any:
        place = {name: value for name, value in parameters.items() if name in _PLACE}
        size = max(self.multipart_bytes, -(-len(body) // _MOST_PARTS))
        upload = await self._begin(parameters)
        try:
            parts = [
                await self._put_part(number, body[start : start + size], upload, place)
                for number, start in enumerate(range(0, len(body), size), 1)
            ]
            return await self.client.complete_multipart_upload(
                UploadId=upload, MultipartUpload={"Parts": parts}, **self._condition, **place
            )
        except BaseException:
            await self._abort(place, upload)
            raise

    async def _begin(self, parameters: Mapping[str, Any]) -> str:
        answer = await self.client.create_multipart_upload(**self._algorithm, **parameters)
        upload: str = answer.get("UploadId", "")
        if not upload:
            raise Unavailable(f"{self.call.what}: {_NOT_S3}")
        return upload

    async def _put_part(self, number: int, body: bytes, upload: str, place: Mapping[str, str]) -> dict[str, Any]:
        """Store one part; return what the completion lists of it."""
        answer = await self.client.upload_part(Body=body, PartNumber=number, UploadId=upload, **self._algorithm, **place)
        if not answer.get("ETag"):
            raise Unavailable(f"{self.call.what}: {_NOT_S3}")
        part = {"PartNumber": number, "ETag": answer["ETag"]}
        if checksum := self._algorithm and answer.get(f"Checksum{_CHECKSUM}"):
            part[f"Checksum{_CHECKSUM}"] = checksum  # a service that knows none answers none, and misses none
        return part

    async def _abort(self, place: Mapping[str, str], upload: str) -> None:
        """Give up an upload; where that is not allowed or fails, a lifecycle rule of the bucket removes it."""
        try:
            async with asyncio.timeout(_ABORT_SECONDS):
                await self.client.abort_multipart_upload(UploadId=upload, **place)
        except (ClientError, BotoCoreError, OSError):
            return


def bucket_call(name: str, region: str | None, parameters: Mapping[str, Any] = MappingProxyType({})) -> Call:
    """Describe a bucket for errors, with objects stored with `parameters`."""
    actions = ["s3:PutObject", "s3:AbortMultipartUpload"]
    actions += [action for parameter, action in _MORE_ACTIONS.items() if parameter in parameters]
    where = name if name.startswith("arn:") else f"arn:aws:s3:::{name}"
    return Call(
        f"bucket {name}" + (f" in {region}" if region else ""),
        f"{', '.join(actions)} on {where}/* (and kms:GenerateDataKey and kms:Decrypt on the key, with SSE-KMS)",
    )


@asynccontextmanager
async def open_s3(
    settings: AwsSettings, call: Call, *, region: str | None = None, addressing: str = "auto", checksums: bool | None = None
) -> AsyncIterator[Any]:
    """An S3 client that reports a bucket in another region, instead of following the redirect."""
    if checksums is None:
        checksums = settings.endpoint_url is None
    wanted = "when_supported" if checksums else "when_required"
    options = {
        "s3": {"addressing_style": addressing},
        "request_checksum_calculation": wanted,
        "response_checksum_validation": wanted,
    }
    async with open_client("s3", settings, call, region=region, options=options) as client:
        client.meta.events.register_last("before-parameter-build.s3", _never_redirect)
        yield client


def _never_redirect(context: dict[str, Any], **_: Any) -> None:
    """A redirect would be a second request at each write; say it was done, so that the SDK reports it instead."""
    context.setdefault("s3_redirect", {})["redirected"] = True
