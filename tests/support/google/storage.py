"""Cloud Storage's JSON API, as strict as the reference: three kinds of upload, preconditions, checksums, permissions."""

from __future__ import annotations

import gzip
import re
import secrets
from base64 import b64encode
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import md5
from typing import Any
from urllib.parse import unquote

import zstandard
from aiohttp import web

from edgerouter.testing import Received
from support.google.identity import Identity
from support.google.service import GoogleError, GoogleService, invalid, only
from support.google.uploads import multipart, resource_of
from support.records import records

CREATE = "storage.objects.create"


GET = "storage.objects.get"


_REASONS = {
    400: "invalid",
    401: "authError",
    403: "forbidden",
    404: "notFound",
    412: "conditionNotMet",
    429: "rateLimitExceeded",
    503: "backendError",
}


_PARAMETERS = {"uploadType", "name", "ifGenerationMatch", "kmsKeyName", "contentEncoding", "upload_id"}


_CLASSES = {"STANDARD", "NEARLINE", "COLDLINE", "ARCHIVE"}


_KMS = re.compile(r"projects/[^/]+/locations/[^/]+/keyRings/[^/]+/cryptoKeys/[^/]+")


@dataclass(frozen=True, slots=True)
class StoredObject:
    """An object as the service keeps it."""

    name: str
    data: bytes
    resource: dict[str, Any]
    generation: int
    upload_type: str

    def unpacked(self) -> bytes:
        """Return the decompressed content, however the compression is marked."""
        if self.resource.get("contentEncoding") == "gzip" or self.data[:2] == b"\x1f\x8b":
            return gzip.decompress(self.data)
        if self.data[:4] == b"\x28\xb5\x2f\xfd":
            return zstandard.ZstdDecompressor().decompress(self.data)
        return self.data

    def described(self) -> dict[str, Any]:
        """Return the object resource."""
        digest = b64encode(md5(self.data, usedforsecurity=False).digest()).decode()
        return {
            **self.resource,
            "name": self.name,
            "size": str(len(self.data)),
            "md5Hash": digest,
            "generation": str(self.generation),
        }


@dataclass(slots=True)
class Session:
    """A resumable upload in progress."""

    bucket: str
    resource: dict[str, Any]
    parameters: dict[str, str]
    length: int | None
    data: bytes = b""
    """Data received so far."""
    answer: bytes = b""
    """Answer about the finished object."""


@dataclass(slots=True)
class Bucket:
    """Objects by name, with the number of writes of each."""

    objects: dict[str, StoredObject] = field(default_factory=dict)
    writes: list[str] = field(default_factory=list)


class StorageServer(GoogleService):
    """The service. `buckets` holds its state, for tests to inspect."""

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__(identity)
        self.buckets: dict[str, Bucket] = {}
        self.sessions: dict[str, Session] = {}
        self.interruptions: list[tuple[int, int]] = []
        """Outcomes of the next pieces of resumable uploads: bytes kept, and the status answered; 0 drops the connection."""
        self.pieces: list[int] = []
        """Bytes of each received piece of a resumable upload."""
        self.disabled_kms_keys: set[str] = set()
        self.unframe: Callable[[StoredObject], list[Received]] = length_prefixed
        bucket = r"(?P<bucket>[^/]+)"
        self.route("GET", rf"/storage/v1/b/{bucket}", self._get_bucket)
        self.route("GET", rf"/storage/v1/b/{bucket}/iam/testPermissions", self._test_permissions)
        self.route("GET", rf"/storage/v1/b/{bucket}/o/(?P<name>[^/]+)", self._get_object)
        self.route("POST", rf"/upload/storage/v1/b/{bucket}/o", self._upload)
        self.route("PUT", rf"/upload/storage/v1/b/{bucket}/o", self._finish)

    def create(self, bucket: str) -> Bucket:
        """Create a bucket."""
        return self.buckets.setdefault(bucket, Bucket())

    def carries_messages(self, request: web.BaseRequest) -> bool:
        if not request.rel_url.raw_path.startswith("/upload/"):
            return False
        return request.method == "PUT" or request.query.get("uploadType") != "resumable"

    def error(self, error: GoogleError) -> web.Response:
        """Build an error in the older form that this service still uses."""
        reason = error.code if error.code[:1].islower() else _REASONS.get(error.status, "unknown")
        body = {
            "error": {
                "code": error.status,
                "message": error.text,
                "errors": [{"message": error.text, "domain": "global", "reason": reason}],
            }
        }
        headers = {}
        for detail in error.details:
            if "retryDelay" in detail:
                headers["Retry-After"] = detail["retryDelay"].removesuffix("s")
        return web.json_response(body, status=error.status, headers=headers)

    def _bucket(self, request: web.BaseRequest, name: str) -> Bucket:
        if self.identity is not None:
            self.permissions(request, name)
        bucket = self.buckets.get(name)
        if bucket is None:
            raise GoogleError(404, "The specified bucket does not exist.")
        return bucket

    async def _get_bucket(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        self._bucket(request, path["bucket"])
        self.need(request, "storage.buckets.get", path["bucket"])
        return web.json_response({"kind": "storage#bucket", "name": path["bucket"]})

    async def _test_permissions(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        self._bucket(request, path["bucket"])
        allowed = self.permissions(request, path["bucket"])
        return web.json_response({"permissions": [name for name in request.query.getall("permissions") if name in allowed]})

    async def _get_object(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        bucket = self._bucket(request, path["bucket"])
        self.need(request, GET, path["bucket"])
        item = bucket.objects.get(unquote(path["name"]))
        if item is None:
            raise GoogleError(404, f"No such object: {path['bucket']}/{unquote(path['name'])}")
        if request.query.get("alt") == "media":
            return web.Response(body=item.data)
        described = item.described()
        fields = request.query.get("fields")
        return web.json_response(
            {name: described[name] for name in fields.split(",") if name in described} if fields else described
        )

    async def _upload(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        bucket = self._bucket(request, path["bucket"])
        self.need(request, CREATE, path["bucket"])
        only(dict(request.query), _PARAMETERS, "")
        kind = request.query.get("uploadType")
        if kind == "media":
            resource = {"name": request.query.get("name", ""), "contentType": request.headers.get("Content-Type", "")}
            return self._store(bucket, resource, dict(request.query), body, "media")
        if kind == "multipart":
            resource, data = multipart(request.headers.get("Content-Type", ""), body)
            return self._store(bucket, resource, dict(request.query), data, "multipart")
        if kind != "resumable":
            invalid("Upload type is not supported.")
        resource = resource_of(body)
        self._check(bucket, resource, dict(request.query))
        length = request.headers.get("X-Upload-Content-Length")
        resource.setdefault("contentType", request.headers.get("X-Upload-Content-Type", ""))
        key = secrets.token_urlsafe(12)
        self.sessions[key] = Session(path["bucket"], resource, dict(request.query), int(length) if length else None)
        location = f"{self.url}/upload/storage/v1/b/{path['bucket']}/o?uploadType=resumable&upload_id={key}"
        return web.Response(headers={"Location": location})

    async def _finish(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        session = self.sessions.get(request.query.get("upload_id", ""))
        if session is None or session.bucket != path["bucket"]:
            raise GoogleError(404, "No such upload session.")
        if session.answer:
            return web.Response(body=session.answer, content_type="application/json")
        start = len(session.data)
        span = request.headers.get("Content-Range", f"bytes 0-{len(body) - 1}/{len(body)}")
        if match := re.fullmatch(r"bytes \*/(\d+)", span):
            total = int(match[1])
        elif match := re.fullmatch(r"bytes (\d+)-(\d+)/(\d+)", span):
            start, end, total = (int(number) for number in match.groups())
            if end - start + 1 != len(body) or start > len(session.data):
                invalid(f"Invalid Content-Range: {span}, while {len(session.data)} bytes are here and {len(body)} came.")
            self.pieces.append(len(body))
        else:
            invalid(f"Failed to parse Content-Range header: {span}")
        if session.length not in (None, total):
            invalid(f"Expected {session.length} bytes, got {total}.")
        kept, status = self.interruptions.pop(0) if self.interruptions and body else (len(body), 200)
        session.data = session.data[:start] + body[:kept]
        if status == 0:
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if status in {404, 410}:
            del self.sessions[request.query["upload_id"]]
        if status >= 400:
            raise GoogleError(status, "The upload was interrupted.")
        if len(session.data) < total:
            headers = {"Range": f"bytes=0-{len(session.data) - 1}"} if session.data else {}
            return web.Response(status=308, reason="Resume Incomplete", headers=headers)
        stored = self._store(self.buckets[path["bucket"]], session.resource, session.parameters, session.data, "resumable")
        session.answer = stored.body if isinstance(stored.body, bytes) else b""
        return stored

    def _check(self, bucket: Bucket, resource: dict[str, Any], parameters: dict[str, str]) -> None:
        name = resource.get("name") or ""
        if not 1 <= len(name.encode()) <= 1024 or name in (".", "..") or "\r" in name or "\n" in name:
            invalid(f"Invalid object name: {name!r}")
        if name.startswith(".well-known/acme-challenge/"):
            invalid(f"Invalid object name: {name!r}")
        if resource.get("storageClass", "STANDARD") not in _CLASSES:
            invalid("Invalid storage class.")
        if "customTime" in resource:
            datetime.fromisoformat(resource["customTime"])
        metadata = resource.get("metadata", {})
        if any(not isinstance(value, str) for value in metadata.values()):
            invalid("Metadata values are strings.")
        kms = parameters.get("kmsKeyName")
        if kms is not None and (not _KMS.fullmatch(kms) or kms in self.disabled_kms_keys):
            invalid(f"Cloud KMS key {kms} cannot be used.")
        generation = bucket.objects[name].generation if name in bucket.objects else 0
        if "ifGenerationMatch" in parameters and int(parameters["ifGenerationMatch"]) != generation:
            raise GoogleError(412, "At least one of the pre-conditions you specified did not hold.")

    def _store(self, bucket: Bucket, resource: dict[str, Any], parameters: dict[str, str], data: bytes, kind: str) -> web.Response:
        self._check(bucket, resource, parameters)
        digest = b64encode(md5(data, usedforsecurity=False).digest()).decode()
        if resource.get("md5Hash", digest) != digest:
            invalid(f'Provided MD5 hash "{resource["md5Hash"]}" doesn\'t match calculated MD5 hash "{digest}".')
        kept = {name: value for name, value in resource.items() if name not in ("name", "md5Hash")}
        if "kmsKeyName" in parameters:
            kept["kmsKeyName"] = parameters["kmsKeyName"]
        name = resource["name"]
        item = StoredObject(name, data, kept, len(bucket.writes) + 1, kind)
        if self.rejected_marker is not None and self.rejected_marker in item.unpacked():
            invalid("Invalid argument.")
        bucket.objects[name] = item
        bucket.writes.append(name)
        return web.json_response(item.described())

    async def received(self) -> Sequence[Received]:
        return [message for bucket in self.buckets.values() for item in bucket.objects.values() for message in self.unframe(item)]


def length_prefixed(item: StoredObject) -> list[Received]:
    """Return the payloads of an object in `length-prefixed` framing."""
    return [Received(payload) for payload in records(item.unpacked())]


def one_payload(item: StoredObject) -> list[Received]:
    """Return the single payload of an uncompressed object in `payload` framing."""
    return [Received(item.data)]
