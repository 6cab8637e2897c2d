"""SQS including consumers: long polling, visibility timeouts, receipts that are valid for one delivery."""

from __future__ import annotations

import asyncio
import hashlib
import json
import re
import time
import uuid
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from support.aws.sqs import ACCOUNT, SqsError, SqsServer, error_response

_BATCH_ACTIONS = ("DeleteMessageBatch", "ChangeMessageVisibilityBatch")
_DEFAULT_VISIBILITY = 30


@dataclass(slots=True)
class Held:
    """A message in a queue."""

    entry: dict[str, Any]
    id: str = field(default_factory=lambda: str(uuid.uuid4()))
    receipt: str = ""
    hidden_until: float = 0.0
    received: int = 0


class SqsConsumerServer(SqsServer):
    """`SqsServer` whose queues can be read."""

    def __init__(self) -> None:
        super().__init__()
        self.held: dict[str, dict[str, Held]] = {}
        """Messages by queue and message id, in the order sent."""
        self.handed_out = 0
        """Number of messages in all answers, including repeats."""
        self.fail_deletes = False

    def create(self, name: str, **options: Any) -> str:
        self.held[name] = {}
        return super().create(name, **options)

    def left(self, name: str) -> tuple[int, int]:
        """Return the numbers of visible and of invisible messages."""
        now = time.monotonic()
        lent = sum(held.hidden_until > now for held in self.held[name].values())
        return len(self.held[name]) - lent, lent

    def put(self, name: str, *bodies: str, attributes: dict[str, Any] | None = None) -> None:
        """Put messages into a queue, as another sender would."""
        self._hold(name, [{"MessageBody": body, "MessageAttributes": attributes or {}} for body in bodies])

    async def answer(self, request: web.BaseRequest, body: bytes) -> web.Response:
        action = request.headers["X-Amz-Target"].removeprefix("AmazonSQS.")
        if action != "ReceiveMessage" and action not in _BATCH_ACTIONS:
            return await super().answer(request, body)
        try:
            said = json.loads(body)
            name = self._allowed(request, action, said)
            answer = await self._receive(name, said) if action == "ReceiveMessage" else self._settle(name, action, said)
        except SqsError as error:
            return error_response(error)
        return web.json_response(answer, content_type="application/x-amz-json-1.0")

    def _allowed(self, request: web.BaseRequest, action: str, said: dict[str, Any]) -> str:
        """Return the queue's name. Like the real service, check credentials and permissions before parameters."""
        if re.match(r"AWS4-HMAC-SHA256 Credential=", request.headers.get("Authorization", "")) is None:
            raise SqsError("MissingAuthenticationToken", "Request is missing Authentication Token", 403)
        if action.removesuffix("Batch") in self.denied:
            text = f"User: arn:aws:iam::{ACCOUNT}:user/device is not authorized to perform: sqs:{action.lower()}"
            raise SqsError("AccessDenied", text, 403)
        name: str = said["QueueUrl"].rsplit("/", 1)[-1]
        if name not in self.held:
            raise SqsError("AWS.SimpleQueueService.NonExistentQueue", "The specified queue does not exist.")
        return name

    async def _receive(self, name: str, said: dict[str, Any]) -> dict[str, Any]:
        most = said.get("MaxNumberOfMessages", 1)
        if not 1 <= most <= 10:
            raise SqsError("InvalidParameterValue", f"Value {most} for parameter MaxNumberOfMessages is invalid. 1 to 10.")
        deadline = time.monotonic() + said.get("WaitTimeSeconds", 0)
        while True:
            now = time.monotonic()
            found = [held for held in self.held[name].values() if held.hidden_until <= now][:most]
            if found or now >= deadline:
                break
            await asyncio.sleep(0.02)
        for held in found:
            held.hidden_until = now + said.get("VisibilityTimeout", _DEFAULT_VISIBILITY)
            held.receipt = uuid.uuid4().hex
            held.received += 1
        self.handed_out += len(found)
        return {"Messages": [_received(held) for held in found]} if found else {}

    def _settle(self, name: str, action: str, said: dict[str, Any]) -> dict[str, Any]:
        if not said["Entries"]:
            raise SqsError("AWS.SimpleQueueService.EmptyBatchRequest", "There should be at least one entry in the request.")
        if len(said["Entries"]) > 10:
            raise SqsError("AWS.SimpleQueueService.TooManyEntriesInBatchRequest", "Maximum number of entries is 10.")
        if self.fail_deletes and action == "DeleteMessageBatch":
            raise SqsError("InternalError", "We encountered an internal error. Please try again.", 500)
        by_receipt = {held.receipt: held for held in self.held[name].values()}
        answer: dict[str, Any] = {"Successful": [], "Failed": []}
        for entry in said["Entries"]:
            held = by_receipt.get(entry["ReceiptHandle"])
            if held is None:
                failure = {"SenderFault": True, "Code": "ReceiptHandleIsInvalid", "Message": "The receipt handle is not valid."}
                answer["Failed"].append({"Id": entry["Id"], **failure})
                continue
            if action == "DeleteMessageBatch":
                del self.held[name][held.id]
            else:
                held.hidden_until = time.monotonic() + entry["VisibilityTimeout"]
            answer["Successful"].append({"Id": entry["Id"]})
        return answer

    def _send(self, queue: Any, entries: list[dict[str, Any]]) -> dict[str, Any]:
        before = len(queue.entries)
        answer = super()._send(queue, entries)
        self._hold(queue.name, queue.entries[before:])
        return answer

    def _hold(self, name: str, entries: list[dict[str, Any]]) -> None:
        for entry in entries:
            held = Held(entry)
            self.held[name][held.id] = held


def _received(held: Held) -> dict[str, Any]:
    body: str = held.entry["MessageBody"]
    answer = {
        "MessageId": held.id,
        "ReceiptHandle": held.receipt,
        "Body": body,
        "MD5OfBody": hashlib.md5(body.encode(), usedforsecurity=False).hexdigest(),
    }
    if held.entry.get("MessageAttributes"):
        answer["MessageAttributes"] = held.entry["MessageAttributes"]
    return answer
