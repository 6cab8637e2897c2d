"""S3 over HTTP: objects, conditional writes, multipart uploads, checksums; with errors as S3 words them."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from urllib.parse import unquote
from xml.sax.saxutils import escape

from aiohttp import web

from edgerouter.testing import HttpSinkServer, Received


class S3Error(Exception):
    """An answer that is not 2xx."""

    def __init__(self, code: str, text: str = "", status: int = 400, headers: dict[str, str] | None = None) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status
        self.headers = headers or {}


@dataclass
class Stored:
    """An object."""

    body: bytes
    headers: dict[str, str]
    writes: int = 1


Unpack = Callable[[str, Stored], Sequence[Received]]


class S3Server(HttpSinkServer):
    """S3 with one bucket. `unpack` says which messages an object holds."""

    decompresses = False

    def __init__(self, unpack: Unpack, bucket: str = "plant-archive") -> None:
        super().__init__()
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, tuple[str, dict[str, str], dict[int, bytes]]] = {}
        self.script: list[S3Error] = []
        """Errors for the next requests that carry messages, in order."""
        self.denied: set[str] = set()
        """What the caller may not do: `put`, `abort`."""
        self.region = "eu-west-1"
        self.aborted = 0
        self._unpack = unpack

    async def received(self) -> Sequence[Received]:
        return [message for key, stored in self.objects.items() for message in self._unpack(key, stored)]

    def carries_messages(self, request: web.BaseRequest) -> bool:
        return request.method == "PUT"

    def broken(self) -> web.Response:
        return _error(S3Error("InternalError", "We encountered an internal error. Please try again.", 500))

    def throttled(self, seconds: float) -> web.Response:
        return _error(S3Error("SlowDown", "Please reduce your request rate.", 503, {"Retry-After": str(int(seconds))}))

    def refused(self) -> web.Response:
        return _error(S3Error("AccessDenied", "Access Denied", 403))

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        try:
            return self._do(request, body)
        except S3Error as error:
            return _error(error)

    def _do(self, request: web.BaseRequest, body: bytes) -> web.Response:
        if not request.headers.get("Authorization", "").startswith("AWS4-HMAC-SHA256"):
            raise S3Error("AccessDenied", "Anonymous access is forbidden", 403)
        bucket, _, key = unquote(request.rel_url.raw_path).lstrip("/").partition("/")
        if bucket != self.bucket:
            raise S3Error("NoSuchBucket", "The specified bucket does not exist", 404)
        if f"/{self.region}/" not in request.headers["Authorization"]:
            text = f"The authorization header is malformed; expecting '{self.region}'"
            raise S3Error("AuthorizationHeaderMalformed", text, 400, {"x-amz-bucket-region": self.region})
        if len(key.encode()) > 1024:
            raise S3Error("KeyTooLongError", "Your key is too long")
        query = request.rel_url.query
        if request.method == "DELETE":
            if "abort" in self.denied:
                raise S3Error("AccessDenied", "Access Denied", 403)
            self.uploads.pop(query["uploadId"], None)
            self.aborted += 1
            return web.Response(status=204)
        if "put" in self.denied:
            raise S3Error("AccessDenied", "User: arn:aws:iam::1:user/device is not authorized to perform: s3:PutObject", 403)
        headers = dict(request.headers)
        if request.method == "POST" and "uploads" in query:
            upload = f"upload-{len(self.uploads)}"
            self.uploads[upload] = (key, headers, {})
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if request.method == "POST":
            return self._complete(query["uploadId"], request)
        _check_crc(request, body)
        if self.script:
            raise self.script.pop(0)
        if "partNumber" in query:
            self.uploads[query["uploadId"]][2][int(query["partNumber"])] = body
            return web.Response(headers={"ETag": f'"{zlib.crc32(body):08x}"'})
        return self._store(key, body, headers, request)

    def _complete(self, upload: str, request: web.BaseRequest) -> web.Response:
        key, headers, parts = self.uploads.pop(upload)
        self._store(key, b"".join(parts[number] for number in sorted(parts)), headers, request)
        return _xml('<CompleteMultipartUploadResult><ETag>"whole"</ETag></CompleteMultipartUploadResult>')

    def _store(self, key: str, body: bytes, headers: dict[str, str], request: web.BaseRequest) -> web.Response:
        known = self.objects.get(key)
        if known is not None and request.headers.get("If-None-Match") == "*":
            raise S3Error("PreconditionFailed", "At least one of the pre-conditions you specified did not hold", 412)
        if any(self.rejected(message.payload) for message in self._unpack(key, Stored(body, headers))):
            raise S3Error("EntityTooLarge", "Your proposed upload exceeds the maximum allowed object size.")
        if known is None:
            self.objects[key] = Stored(body, headers)
        else:
            assert known.body == body, "a retry must store the same bytes"
            known.writes += 1
        return web.Response(headers={"ETag": f'"{zlib.crc32(body):08x}"'})


def _check_crc(request: web.BaseRequest, body: bytes) -> None:
    wanted = request.headers.get("x-amz-checksum-crc32")
    if wanted is not None and base64.b64decode(wanted) != zlib.crc32(body).to_bytes(4, "big"):
        raise S3Error("BadDigest", "The CRC32 you specified did not match the calculated checksum.")


def _xml(text: str) -> web.Response:
    return web.Response(text=f'<?xml version="1.0" encoding="UTF-8"?>{text}', content_type="application/xml")


def _error(error: S3Error) -> web.Response:
    response = _xml(f"<Error><Code>{error.code}</Code><Message>{escape(error.text)}</Message></Error>")
    response.set_status(error.status)
    response.headers.update(error.headers)
    return response
