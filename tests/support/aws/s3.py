"""S3 over HTTP: objects, conditional writes, checksums, and multipart uploads as strict as S3's; with S3's error texts."""

from __future__ import annotations

import base64
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote
from xml.etree import ElementTree as ET
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


@dataclass
class Upload:
    """A multipart upload in progress."""

    key: str
    headers: dict[str, str]
    parts: dict[int, tuple[bytes, str]] = field(default_factory=dict)
    """Bytes of each part, and their CRC32 if the upload was started with it."""

    @property
    def algorithm(self) -> str:
        """Algorithm of the parts' checksums, in lower case; empty if none was named."""
        return next((value.lower() for name, value in self.headers.items() if name.lower() == "x-amz-checksum-algorithm"), "")


PROBE = ".edgerouter-check"
"""End of the key that a sink probes on opening."""
SMALLEST_PART = 5 * 1024**2
"""Minimum size of all parts but the last (S3 user guide, "Amazon S3 multipart upload limits")."""

Unpack = Callable[[str, Stored], Sequence[Received]]


def _one_message(_key: str, stored: Stored) -> Sequence[Received]:
    return (Received(stored.body),)


class S3Server(HttpSinkServer):
    """S3 with one bucket. `unpack` returns the messages of an object; by default its body is one."""

    decompresses = False

    def __init__(self, unpack: Unpack = _one_message, bucket: str = "plant-archive") -> None:
        super().__init__()
        self.bucket = bucket
        self.objects: dict[str, Stored] = {}
        self.uploads: dict[str, Upload] = {}
        self.script: list[S3Error] = []
        """Errors for the next requests that carry messages, in order."""
        self.denied: set[str] = set()
        """Forbidden calls: `put`, `part`, `abort`, `get`."""
        self.region = "eu-west-1"
        self.aborted = 0
        self._begun = 0
        self._unpack = unpack

    async def received(self) -> Sequence[Received]:
        return [message for key, stored in self.objects.items() for message in self._unpack(key, stored)]

    def carries_messages(self, request: web.BaseRequest) -> bool:
        return request.method == "PUT" and not request.path.endswith(PROBE)

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
        key = self._key(request)
        query = request.rel_url.query
        if request.method == "HEAD":
            return self._head(key)
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
            self._begun += 1
            upload = f"upload-{self._begun}"
            self.uploads[upload] = Upload(key, headers)
            return _xml(f"<InitiateMultipartUploadResult><UploadId>{upload}</UploadId></InitiateMultipartUploadResult>")
        if request.method == "POST":
            return self._complete(query["uploadId"], request, body)
        _check_crc(request, body)
        if self.script and self.carries_messages(request):
            raise self.script.pop(0)
        if "partNumber" in query:
            return self._part(query["uploadId"], int(query["partNumber"]), request, body)
        return self._store(key, body, headers, request)

    def _key(self, request: web.BaseRequest) -> str:
        """Return the key of a request, after checking credentials and bucket."""
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
        return key

    def _head(self, key: str) -> web.Response:
        if "get" in self.denied:
            return web.Response(status=403)
        if key not in self.objects:
            return web.Response(status=404)
        return web.Response(body=self.objects[key].body)

    def _part(self, upload: str, number: int, request: web.BaseRequest, body: bytes) -> web.Response:
        if "part" in self.denied:
            raise S3Error("AccessDenied", "User: arn:aws:iam::1:user/device is not authorized to perform: kms:Decrypt", 403)
        begun = self._upload(upload)
        crc = request.headers.get("x-amz-checksum-crc32", "")
        if begun.algorithm and not crc:
            text = "Checksum Type mismatch occurred, expected checksum Type: crc32, actual checksum Type: null"
            raise S3Error("InvalidRequest", text)
        begun.parts[number] = (body, crc if begun.algorithm else "")
        headers = {"ETag": f'"{zlib.crc32(body):08x}"'}
        return web.Response(headers=headers | ({"x-amz-checksum-crc32": crc} if crc else {}))

    def _upload(self, upload: str) -> Upload:
        if upload not in self.uploads:
            raise S3Error("NoSuchUpload", "The specified multipart upload does not exist.", 404)
        return self.uploads[upload]

    def _complete(self, upload: str, request: web.BaseRequest, body: bytes) -> web.Response:
        """Assemble the object from the parts listed in the request, which must match the stored ones."""
        begun = self._upload(upload)
        listed = _listed(body)
        numbers = [number for number, *_ in listed]
        if numbers != sorted(set(numbers)):
            raise S3Error("InvalidPartOrder", "The list of parts was not in ascending order.")
        whole = []
        for number, tag, crc in listed:
            stored, wanted = begun.parts.get(number, (b"", ""))
            if number not in begun.parts or tag.strip('"') != f"{zlib.crc32(stored):08x}" or crc != wanted:
                raise S3Error("InvalidPart", "One or more of the specified parts could not be found.")
            if number != numbers[-1] and len(stored) < SMALLEST_PART:
                raise S3Error("EntityTooSmall", "Your proposed upload is smaller than the minimum allowed size")
            whole.append(stored)
        self._store(begun.key, b"".join(whole), begun.headers, request)
        del self.uploads[upload]
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


def _listed(body: bytes) -> list[tuple[int, str, str]]:
    """Return number, ETag and CRC32 of each part that a completion lists."""
    try:
        parts = ET.fromstring(body).findall("{*}Part")
        listed = [(int(part.findtext("{*}PartNumber", "")), part.findtext("{*}ETag", ""), _crc_of(part)) for part in parts]
    except (ET.ParseError, ValueError):
        listed = []
    if not listed:
        raise S3Error("MalformedXML", "The XML you provided was not well-formed or did not validate against our published schema")
    return listed


def _crc_of(part: ET.Element) -> str:
    return part.findtext("{*}ChecksumCRC32", "")


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
