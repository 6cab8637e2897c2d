"""Pub/Sub over REST, as strict as the reference: limits, attributes, ordering keys, permissions, pull for reading back."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from edgerouter.testing import Received
from support.google.identity import Identity
from support.google.service import GoogleError, GoogleService, invalid, only, strict_json

# https://cloud.google.com/pubsub/quotas#resource_limits
MAX_REQUEST_BYTES = 10_000_000
MAX_MESSAGES = 1000
MAX_ATTRIBUTES = 100
MAX_KEY_BYTES = 256
MAX_VALUE_BYTES = 1024
MAX_ORDERING_KEY_BYTES = 1024

PUBLISH = "pubsub.topics.publish"
GET = "pubsub.topics.get"
CONSUME = "pubsub.subscriptions.consume"


@dataclass(frozen=True, slots=True)
class Stored:
    """A message that the service has stored."""

    message_id: str
    data: bytes
    attributes: dict[str, str]
    ordering_key: str
    request: int
    """Number of the request that carried it."""


@dataclass(slots=True)
class Topic:
    """A topic and its messages."""

    messages: list[Stored] = field(default_factory=list)
    ordered_fault: dict[str, int] = field(default_factory=dict)
    """Ordering keys whose next publishes fail, with the number of failures."""


@dataclass(slots=True)
class Subscription:
    """A reader of a topic."""

    topic: str
    position: int = 0
    outstanding: dict[str, Stored] = field(default_factory=dict)


class PubsubServer(GoogleService):
    """The service. `topics` and `subscriptions` hold its state, for tests to inspect."""

    def __init__(self, identity: Identity | None = None) -> None:
        super().__init__(identity)
        self.topics: dict[str, Topic] = {}
        self.subscriptions: dict[str, Subscription] = {}
        self.publishes = 0
        name = r"projects/[^/]+/topics/[^/:]+"
        self.route("PUT", rf"/v1/(?P<topic>{name})", self._create_topic)
        self.route("GET", rf"/v1/(?P<topic>{name})", self._get_topic)
        self.route("POST", rf"/v1/(?P<topic>{name}):testIamPermissions", self._test_permissions)
        self.route("POST", rf"/v1/(?P<topic>{name}):publish", self._publish)
        subscription = r"projects/[^/]+/subscriptions/[^/:]+"
        self.route("PUT", rf"/v1/(?P<subscription>{subscription})", self._create_subscription)
        self.route("POST", rf"/v1/(?P<subscription>{subscription}):pull", self._pull)
        self.route("POST", rf"/v1/(?P<subscription>{subscription}):acknowledge", self._acknowledge)

    def create(self, topic: str) -> Topic:
        """Create a topic."""
        return self.topics.setdefault(topic, Topic())

    def carries_messages(self, request: web.BaseRequest) -> bool:
        return request.rel_url.raw_path.endswith(":publish")

    def _topic(self, name: str) -> Topic:
        topic = self.topics.get(name)
        if topic is None:
            raise GoogleError(404, f"Resource not found (resource={name.rpartition('/')[2]}).")
        return topic

    async def _create_topic(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        if path["topic"] in self.topics:
            raise GoogleError(409, "Resource already exists in the project.")
        self.create(path["topic"])
        return web.json_response({"name": path["topic"]})

    async def _get_topic(self, request: web.BaseRequest, _body: bytes, path: dict[str, str]) -> web.Response:
        self.need(request, GET, path["topic"])
        self._topic(path["topic"])
        return web.json_response({"name": path["topic"]})

    async def _test_permissions(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        """Answer for a missing topic with no permissions, as the reference states."""
        asked = strict_json(body, {"permissions"})["permissions"]
        if self.identity is None:
            raise GoogleError(501, "Method not found.", code="UNIMPLEMENTED")
        allowed = self.permissions(request, path["topic"]) if path["topic"] in self.topics else set()
        return web.json_response({"permissions": [name for name in asked if name in allowed]} if allowed else {})

    async def _publish(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        if len(body) > MAX_REQUEST_BYTES:
            invalid(f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes.")
        asked = strict_json(body, {"messages"})
        if self.identity is not None and path["topic"] not in self.topics:
            self.permissions(request, path["topic"])  # unauthenticated callers learn nothing about topics
        topic = self._topic(path["topic"])
        self.need(request, PUBLISH, path["topic"])
        messages = asked.get("messages", [])
        if not 1 <= len(messages) <= MAX_MESSAGES:
            invalid(f"The value for message_count is invalid. You passed {len(messages)}, 1 to {MAX_MESSAGES} are taken.")
        self.publishes += 1
        stored = [self._checked(message, len(topic.messages) + index) for index, message in enumerate(messages)]
        keys = {message.ordering_key for message in stored}
        if len(keys) > 1:
            invalid(
                "In a single publish request, all messages must have no ordering key or they must all have the same ordering key."
            )
        for key in keys & topic.ordered_fault.keys():
            topic.ordered_fault[key] -= 1
            if topic.ordered_fault[key] <= 0:
                del topic.ordered_fault[key]
            raise GoogleError(503, "The service was unable to fulfill your request. Please try again.")
        if any(self.rejected(message.data) for message in stored):
            invalid("One or more messages in the publish request is invalid.")
        topic.messages += stored
        self.taken += [Received(item.data, item.attributes.get("topic"), item.attributes.get("id")) for item in stored]
        return web.json_response({"messageIds": [message.message_id for message in stored]})

    def _checked(self, message: dict[str, Any], number: int) -> Stored:
        only(message, {"data", "attributes", "orderingKey"}, f" at 'messages[{number}]'")
        try:
            data = base64.b64decode(message.get("data", ""), validate=True)
        except binascii.Error:
            invalid(f"Invalid value at 'messages[{number}].data' (TYPE_BYTES), Base64 decoding failed.")
        attributes = message.get("attributes", {})
        if not data and not attributes:
            invalid("One or more messages in the publish request is empty. Each needs non-empty data, or at least one attribute.")
        if len(attributes) > MAX_ATTRIBUTES:
            invalid("A message has too many attributes.")
        for key, value in attributes.items():
            if not isinstance(value, str):
                invalid(f"Invalid value at 'messages[{number}].attributes' (TYPE_STRING)")
            if not 1 <= len(key.encode()) <= MAX_KEY_BYTES or key.startswith("goog") or len(value.encode()) > MAX_VALUE_BYTES:
                invalid("The request contains an attribute key or value that is not valid.")
        key = message.get("orderingKey", "")
        if not isinstance(key, str) or len(key.encode()) > MAX_ORDERING_KEY_BYTES:
            invalid("The ordering key is not valid.")
        return Stored(str(10_000_000_000 + number), data, attributes, key, self.publishes)

    async def _create_subscription(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        asked = strict_json(body, {"topic", "enableMessageOrdering", "ackDeadlineSeconds"})
        self._topic(asked["topic"])
        self.subscriptions[path["subscription"]] = Subscription(asked["topic"])
        return web.json_response({"name": path["subscription"], **asked})

    async def _pull(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        asked = strict_json(body, {"maxMessages", "returnImmediately"})
        self.need(request, CONSUME, path["subscription"])
        subscription = self.subscriptions[path["subscription"]]
        messages = self.topics[subscription.topic].messages[subscription.position :][: asked["maxMessages"]]
        subscription.position += len(messages)
        subscription.outstanding |= {f"ack-{message.message_id}": message for message in messages}
        received = [
            {
                "ackId": f"ack-{message.message_id}",
                "message": {
                    "data": base64.b64encode(message.data).decode(),
                    "attributes": message.attributes,
                    "messageId": message.message_id,
                    "orderingKey": message.ordering_key,
                },
            }
            for message in messages
        ]
        return web.json_response({"receivedMessages": received} if received else {})

    async def _acknowledge(self, request: web.BaseRequest, body: bytes, path: dict[str, str]) -> web.Response:
        asked = strict_json(body, {"ackIds"})
        self.need(request, CONSUME, path["subscription"])
        outstanding = self.subscriptions[path["subscription"]].outstanding
        for ack in asked["ackIds"]:
            outstanding.pop(ack, None)
        return web.json_response({})

    async def received(self) -> Sequence[Received]:
        return list(self.taken)
