"""Pub/Sub including subscribers: long pulls, acknowledgement deadlines, acknowledgement ids valid for one delivery."""

from __future__ import annotations

import asyncio
import base64
import time
import uuid
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from support.google.identity import Identity
from support.google.pubsub import CONSUME, GET, MAX_MESSAGES, PubsubServer, Stored
from support.google.service import GoogleError, invalid, strict_json

_SUBSCRIPTION = r"projects/[^/]+/subscriptions/[^/:]+"
_WAIT = 1.0
"""Seconds that a pull waits for messages; the real service waits for about 90."""


@dataclass(slots=True)
class Held:
    """An unacknowledged message of a subscription."""

    message: Stored
    ack_id: str = ""
    hidden_until: float = 0.0
    attempts: int = 0


class PubsubConsumerServer(PubsubServer):
    """`PubsubServer` whose subscriptions redeliver messages after a deadline."""

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__(identity)
        self.held: dict[str, dict[str, Held]] = {}
        """Messages by subscription and message id."""
        self.deadlines: dict[str, float] = {}
        self.handed_out = 0
        """Number of messages in all answers, including repeats."""
        self.fail_acknowledgements = False
        self.exactly_once = ""
        """`INVALID_ARGUMENT` or `FAILED_PRECONDITION`: refuse, with this code, requests that name an expired id."""
        routes, self.routes = self.routes, []
        path = rf"/v1/(?P<subscription>{_SUBSCRIPTION})"
        self.route("GET", path, self._get_subscription)
        self.route("POST", path + ":testIamPermissions", self._test_subscription)
        self.route("POST", path + ":pull", self._pull_held)
        self.route("POST", path + ":acknowledge", self._acknowledge_held)
        self.route("POST", path + ":modifyAckDeadline", self._modify)
        self.routes += routes

    def subscribe(self, subscription: str, deadline: float = 10.0) -> None:
        """Create a subscription; the real service's shortest deadline is 10 seconds."""
        self.held[subscription] = {}
        self.deadlines[subscription] = deadline

    def put(self, subscription: str, *payloads: bytes, attributes: dict[str, str] | None = None) -> None:
        """Put messages into a subscription, as another publisher would."""
        for payload in payloads:
            message = Stored(str(uuid.uuid4().int >> 64), payload, attributes or {}, "", 0)
            self.held[subscription][message.message_id] = Held(message)

    def left(self, subscription: str) -> tuple[int, int]:
        """Return the numbers of waiting and of delivered messages."""
        now = time.monotonic()
        out = sum(held.hidden_until > now for held in self.held[subscription].values())
        return len(self.held[subscription]) - out, out

    def _held(self, request: web.BaseRequest, path: dict[str, str], permission: str) -> dict[str, Held]:
        self.need(request, permission, path["subscription"])
        held = self.held.get(path["subscription"])
        if held is None:
            raise GoogleError(404, f"Resource not found (resource={path['subscription'].rpartition('/')[2]}).")
        return held

    async def _get_subscription(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        self._held(request, path, GET)
        return web.json_response({"name": path["subscription"], "ackDeadlineSeconds": self.deadlines[path["subscription"]]})

    async def _test_subscription(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        asked = strict_json(body, {"permissions"})["permissions"]
        there = self.permissions(request, path["subscription"]) if path["subscription"] in self.held else set()
        return web.json_response({"permissions": [name for name in asked if name in there]} if there else {})

    async def _pull_held(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        most = strict_json(body, {"maxMessages"})["maxMessages"]
        if not 1 <= most <= MAX_MESSAGES:
            invalid(f"The value for max_messages is {most}; 1 to {MAX_MESSAGES} are taken.")
        held = self._held(request, path, CONSUME)
        deadline = time.monotonic() + _WAIT
        while True:
            now = time.monotonic()
            found = [each for each in held.values() if each.hidden_until <= now][:most]
            if found or now >= deadline:
                break
            await asyncio.sleep(0.02)
        for each in found:
            each.ack_id, each.hidden_until = uuid.uuid4().hex, now + self.deadlines[path["subscription"]]
            each.attempts += 1
        self.handed_out += len(found)
        return web.json_response({"receivedMessages": [_received(each) for each in found]} if found else {})

    async def _acknowledge_held(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        asked = strict_json(body, {"ackIds"})["ackIds"]
        held = self._held(request, path, CONSUME)
        if self.fail_acknowledgements:
            raise GoogleError(503, "The service was unable to fulfill your request. Please try again.")
        by_ack = {each.ack_id: each for each in held.values()}
        for ack in asked:
            if ack in by_ack:
                del held[by_ack[ack].message.message_id]
        self._refuse_stale([ack for ack in asked if ack not in by_ack])
        return web.json_response({})

    def _refuse_stale(self, ids: list[str]) -> None:
        """Refuse expired ids in the form that google-cloud-pubsub parses: https://cloud.google.com/pubsub/docs/exactly-once-delivery."""
        if self.exactly_once and ids:
            info = {
                "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                "reason": "EXACTLY_ONCE_ACKID_FAILURE",
                "domain": "pubsub.googleapis.com",
                "metadata": dict.fromkeys(ids, "PERMANENT_FAILURE_INVALID_ACK_ID"),
            }
            text = "Some acknowledgement ids in the request were invalid."
            raise GoogleError(400, text, code=self.exactly_once, details=[info])

    async def _modify(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        asked: dict[str, Any] = strict_json(body, {"ackIds", "ackDeadlineSeconds"})
        if not 0 <= asked["ackDeadlineSeconds"] <= 600:
            invalid("ackDeadlineSeconds is from 0 to 600.")
        by_ack = {each.ack_id: each for each in self._held(request, path, CONSUME).values()}
        for ack in asked["ackIds"]:
            if ack in by_ack:
                by_ack[ack].hidden_until = time.monotonic() + asked["ackDeadlineSeconds"]
        self._refuse_stale([ack for ack in asked["ackIds"] if ack not in by_ack])
        return web.json_response({})


def _received(held: Held) -> dict[str, Any]:
    message: dict[str, Any] = {"messageId": held.message.message_id, "publishTime": "2026-11-20T10:00:00.123Z"}
    if held.message.data:
        message["data"] = base64.b64encode(held.message.data).decode()
    if held.message.attributes:
        message["attributes"] = held.message.attributes
    return {"ackId": held.ack_id, "message": message, "deliveryAttempt": held.attempts}
