"""SQS over its JSON protocol, with its limits on sizes, characters, ids and attributes, FIFO groups and deduplication."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from edgerouter.testing import HttpSinkServer, Received

ACCOUNT = "123456789012"
MOST_BATCH_BYTES = 1024 * 1024
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_ENTRY_ID = re.compile(r"[A-Za-z0-9_-]{1,80}")
_GROUP = re.compile(r"[A-Za-z0-9!-/:-@\[-`{-~]{1,128}")
_ATTRIBUTE_NAME = re.compile(r"(?!(?i:aws\.|amazon\.))(?!\.)(?!.*\.\.)[A-Za-z0-9_.-]{1,256}(?<!\.)")


class SqsError(Exception):
    """An answer that is not 200."""

    def __init__(self, code: str, text: str, status: int = 400) -> None:
        super().__init__(text)
        self.code = code
        self.text = text
        self.status = status


@dataclass
class Queue:
    """A queue and its entries."""

    name: str
    max_message_bytes: int = 1024 * 1024
    entries: list[dict[str, Any]] = field(default_factory=list)
    """Entries as sent."""
    deduplicated: dict[str, int] = field(default_factory=dict)

    @property
    def fifo(self) -> bool:
        return self.name.endswith(".fifo")


class SqsServer(HttpSinkServer):
    """SQS with queues created by `create`."""

    def __init__(self) -> None:
        super().__init__()
        self.queues: dict[str, Queue] = {}
        self.script: list[SqsError] = []
        """Errors for the next requests that send, in order."""
        self.denied: set[str] = set()
        """Actions that the caller may not perform."""
        self.known_key: str | None = None
        """The only access key that is accepted; any if `None`."""
        self.fail_entry: Callable[[dict[str, Any]], tuple[str, bool] | None] = lambda entry: None
        """Returns code and SenderFault for a refused entry."""
        self.request_sizes: list[int] = []
        """Number of entries of each accepted request."""

    def create(self, name: str, **options: Any) -> str:
        """Create a queue and return its URL."""
        self.queues[name] = Queue(name, **options)
        return f"{self.url}/{ACCOUNT}/{name}"

    def bodies(self, queue: str) -> list[str]:
        """Return the bodies of the messages in a queue."""
        return [entry["MessageBody"] for entry in self.queues[queue].entries]

    async def received(self) -> Sequence[Received]:
        return [_received(entry) for queue in self.queues.values() for entry in queue.entries]

    def carries_messages(self, request: web.BaseRequest) -> bool:
        return request.headers.get("X-Amz-Target") == "AmazonSQS.SendMessageBatch"

    def broken(self) -> web.Response:
        return error_response(SqsError("InternalError", "We encountered an internal error. Please try again.", 500))

    def throttled(self, seconds: float) -> web.Response:
        response = error_response(SqsError("RequestThrottled", "Rate exceeded", 403))
        response.headers["Retry-After"] = str(int(seconds))
        return response

    def refused(self) -> web.Response:
        return error_response(_denied("sqs:sendmessage"))

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        try:
            return web.json_response(self._do(request, json.loads(body)), content_type="application/x-amz-json-1.0")
        except SqsError as error:
            return error_response(error)

    def _do(self, request: web.BaseRequest, said: dict[str, Any]) -> dict[str, Any]:
        action = request.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
        match = re.match(r"AWS4-HMAC-SHA256 Credential=([^/]+)/", request.headers.get("Authorization", ""))
        if match is None:
            raise SqsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if self.known_key is not None and match[1] != self.known_key:
            raise SqsError("UnrecognizedClientException", "The security token included in the request is invalid.", 403)
        if action in self.denied:
            raise _denied(f"sqs:{action.lower()}")
        name = said.get("QueueName") or said.get("QueueUrl", "").rsplit("/", 1)[-1]
        queue = self.queues.get(name)
        if queue is None:
            raise SqsError("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
        if action == "GetQueueUrl":
            return {"QueueUrl": f"{self.url}/{ACCOUNT}/{name}"}
        if action == "GetQueueAttributes":
            return {"Attributes": {"MaximumMessageSize": str(queue.max_message_bytes)}}
        assert action == "SendMessageBatch", action
        if said["Entries"] and self.script:
            raise self.script.pop(0)
        return self._send(queue, said["Entries"])

    def _send(self, queue: Queue, entries: list[dict[str, Any]]) -> dict[str, Any]:
        if not entries:
            raise SqsError("AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one SendMessageBatchRequestEntry.")
        if len(entries) > 10:
            raise SqsError(
                "AWS.SimpleQueueService.TooManyEntriesInBatchRequest", f"Maximum number of entries is 10: {len(entries)}"
            )
        ids = [entry["Id"] for entry in entries]
        if len(set(ids)) < len(ids):
            raise SqsError("AWS.SimpleQueueService.BatchEntryIdsNotDistinct", "Two or more entries have the same Id.")
        if not all(_ENTRY_ID.fullmatch(number) for number in ids):
            raise SqsError("AWS.SimpleQueueService.InvalidBatchEntryId", "A batch entry id is not valid.")
        if sum(map(size_of, entries)) > MOST_BATCH_BYTES:
            raise SqsError("AWS.SimpleQueueService.BatchRequestTooLong", f"more than {MOST_BATCH_BYTES} bytes")
        for entry in entries:
            _check(queue, entry)
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in entries:
            failure = self._failure(entry)
            if failure is not None:
                code, sender = failure
                answer["Failed"].append({"Id": entry["Id"], "SenderFault": sender, "Code": code, "Message": "not taken"})
                continue
            answer["Successful"].append({"Id": entry["Id"], "MessageId": f"{len(queue.entries)}", "MD5OfMessageBody": "0" * 32})
            key = entry.get("MessageDeduplicationId")
            if key is None or key not in queue.deduplicated:
                queue.entries.append(entry)
            if key is not None:
                queue.deduplicated[key] = queue.deduplicated.get(key, 0) + 1
        self.request_sizes.append(len(entries))
        return answer

    def _failure(self, entry: dict[str, Any]) -> tuple[str, bool] | None:
        payload = _received(entry).payload
        if self.rejected(payload):
            return "InvalidParameterValue", True
        if self.fails_now(payload):
            return "InternalError", False
        return self.fail_entry(entry)


def size_of(entry: dict[str, Any]) -> int:
    """Return the bytes as SQS counts them: body, and names, types and values of attributes."""
    size = len(entry["MessageBody"].encode())
    for name, value in entry.get("MessageAttributes", {}).items():
        content = base64.b64decode(value["BinaryValue"]) if "BinaryValue" in value else value["StringValue"].encode()
        size += len(name.encode()) + len(value["DataType"]) + len(content)
    return size


def _check(queue: Queue, entry: dict[str, Any]) -> None:
    body = entry["MessageBody"]
    attributes = entry.get("MessageAttributes", {})
    if not body:
        raise SqsError("MissingParameter", "The request must contain the parameter MessageBody.")
    if size_of(entry) > queue.max_message_bytes:
        raise SqsError("InvalidParameterValue", f"Message must be shorter than {queue.max_message_bytes} bytes.")
    if len(attributes) > 10:
        raise SqsError(
            "InvalidParameterValue", f"Number of message attributes [{len(attributes)}] exceeds the allowed maximum [10]."
        )
    texts = [body]
    for name, value in attributes.items():
        if _ATTRIBUTE_NAME.fullmatch(name) is None:
            raise SqsError("InvalidParameterValue", f"The message attribute name {name!r} is not valid.")
        if not (value.get("StringValue") or value.get("BinaryValue")):
            raise SqsError("InvalidParameterValue", f"The message attribute {name!r} must contain a non-empty value.")
        texts.append(value.get("StringValue", ""))
    if any(_ILLEGAL.search(text) for text in texts):
        raise SqsError("InvalidMessageContents", "Invalid characters found. Valid unicode characters are #x9 | #xA | #xD | ...")
    group, key = entry.get("MessageGroupId"), entry.get("MessageDeduplicationId")
    if queue.fifo and not (group and key):
        raise SqsError("MissingParameter", "The request must contain the parameters MessageGroupId and MessageDeduplicationId.")
    if not queue.fifo and key is not None:
        raise SqsError("InvalidParameterValue", "MessageDeduplicationId is not valid for this queue type.")
    if any(value is not None and _GROUP.fullmatch(value) is None for value in (group, key)):
        raise SqsError(
            "InvalidParameterValue", "Value can only include alphanumeric and punctuation characters. 1 to 128 in length."
        )


def _received(entry: dict[str, Any]) -> Received:
    attributes = {name: _text(value) for name, value in entry.get("MessageAttributes", {}).items()}
    encoding = attributes.get("encoding")
    payload = entry["MessageBody"].encode()
    if encoding == "base64":
        payload = base64.b64decode(payload, validate=True)
    elif encoding == "empty":
        payload = b""
    elif encoding == "gzip+base64":
        payload = gzip.decompress(base64.b64decode(payload, validate=True))
    return Received(payload, attributes.get("topic"), attributes.get("id"))


def _text(value: dict[str, Any]) -> str:
    return base64.b64decode(value["BinaryValue"]).decode() if "BinaryValue" in value else str(value["StringValue"])


def _denied(action: str) -> SqsError:
    text = f"User: arn:aws:iam::{ACCOUNT}:user/device is not authorized to perform: {action} on resource: arn:aws:sqs:..."
    return SqsError("AccessDenied", text, 403)


def error_response(error: SqsError) -> web.Response:
    return web.json_response(
        {"__type": f"com.amazonaws.sqs#{error.code}", "message": error.text},
        status=error.status,
        content_type="application/x-amz-json-1.0",
        headers={"x-amzn-query-error": f"{error.code};Sender"},
    )
