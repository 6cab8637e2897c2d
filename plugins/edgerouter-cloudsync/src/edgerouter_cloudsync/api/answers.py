"""Answers of the API: CloudSync's texts, with the status that fits and the one that CloudSync gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final

import msgspec
from aiohttp import web

INVALID: Final = "INVALID_PARAMETER"
NO_BROKER: Final = "No broker host defined"
NO_TOPIC: Final = "No topic defined"
NOT_ACTIVE: Final = "CloudSync is not Active. Please stop the container and rerun the container with cloudsync set"


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer, for both kinds of clients."""

    status: int
    message: str
    """Text under the key `Message`."""
    more: Mapping[str, Any] = field(default_factory=dict)
    """Further keys."""
    legacy: int = 200
    """Status that CloudSync gave."""
    legacy_body: bool = True
    """False where CloudSync sent no body."""
    headers: Mapping[str, str] = field(default_factory=dict)

    def response(self, *, legacy: bool) -> web.Response:
        """Return it as HTTP."""
        if legacy and not self.legacy_body:
            return web.Response(status=self.legacy)
        body = msgspec.json.encode({"Message": self.message, **self.more})
        return web.Response(
            body=body, status=self.legacy if legacy else self.status, content_type="application/json", headers=self.headers
        )


class Refusal(Exception):
    """Ends a call with an answer."""

    def __init__(self, answer: Answer) -> None:
        super().__init__(answer.message)
        self.answer = answer


def invalid(detail: str) -> Refusal:
    """Refuse a field that is missing or of another type."""
    return Refusal(Answer(400, INVALID, {"Detail": detail}))


def not_json(detail: str) -> Refusal:
    """Refuse a body that is not JSON."""
    return Refusal(Answer(400, INVALID, {"Detail": detail}, legacy=503, legacy_body=False))


def no_broker() -> Refusal:
    """Refuse an empty host."""
    return Refusal(Answer(400, NO_BROKER, {"Detail": "`url` should be the host of a broker, without scheme and port"}))


def no_topic() -> Refusal:
    """Refuse an empty topic."""
    return Refusal(Answer(400, NO_TOPIC, {"Detail": "`topic` should have at least one character"}))


def not_active() -> Refusal:
    """Refuse a call while the API is switched off."""
    return Refusal(Answer(503, NOT_ACTIVE))


def not_local(caller: str) -> Refusal:
    """Refuse a caller on another machine."""
    detail = f"{caller} is not this machine; add its network to `allow` of the source"
    return Refusal(Answer(403, "The caller is not allowed", {"Detail": detail}, legacy=406, legacy_body=False))


def from_a_page() -> Refusal:
    """Refuse the page of a web site."""
    detail = "pages in browsers are not served: any site could publish in the name of this machine"
    return Refusal(Answer(403, "The caller is not allowed", {"Detail": detail}, legacy=406, legacy_body=False))


def not_identified(detail: str) -> Refusal:
    """Refuse a request without a valid token."""
    answer = Answer(401, "The token is not valid", {"Detail": detail}, legacy_body=False, headers={"WWW-Authenticate": "Bearer"})
    return Refusal(answer)


def not_permitted(user: str) -> Refusal:
    """Refuse a call that the user's role does not have."""
    return Refusal(Answer(403, "The user is not allowed to do this", {"Detail": f"{user} may publish only"}, legacy_body=False))


def not_allowed(broker: str) -> Refusal:
    """Refuse a broker that is not listed."""
    return Refusal(Answer(403, f"The broker {broker} is not allowed", {"Detail": "add it to `brokers` of the source and the sink"}))


def too_many(seconds: float) -> Refusal:
    """Refuse a request over the rate."""
    headers = {"Retry-After": str(max(1, round(seconds)))}
    return Refusal(Answer(429, "Too many requests", {"Detail": "see `max_requests_per_second`"}, legacy=429, headers=headers))


def too_large(most: int) -> Refusal:
    """Refuse a body over the limit."""
    return Refusal(Answer(413, "The request is too large", {"Detail": f"at most {most} bytes: `max_body_bytes`"}, legacy=413))


def too_much() -> Refusal:
    """Refuse a body while too many bytes of others are still coming."""
    detail = "the bodies of other requests are still coming; send it again"
    return Refusal(Answer(503, "Too many requests", {"Detail": detail}, legacy=503, headers={"Retry-After": "1"}))


_PUBLISH_KEYS: Final = {"ServiceName": "", "RemoteTargetInfo": ""}


def to_publish(answer: Answer) -> Answer:
    """Return an answer to `publish`, which has the keys of CloudSync's whatever became of the data."""
    return replace(answer, more={**_PUBLISH_KEYS, **answer.more})


def published(broker: str) -> Answer:
    """Answer for data that the broker has taken."""
    return Answer(200, f"Data published successfully to Cloud{broker}")


def kept(broker: str, reason: str) -> Answer:
    """Answer for data that the spool keeps until the broker takes it."""
    return Answer(202, f"Data stored, will be published to Cloud{broker}", {"Detail": reason})


def not_published(reason: str) -> Answer:
    """Answer for data that the broker does not take."""
    return Answer(502, f"Error in publishing the data {reason}")


def not_stored(reason: str) -> Answer:
    """Answer for data that there is no room for."""
    return Answer(503, f"Error in publishing the data {reason}", headers={"Retry-After": "5"})


def not_connected(reason: str) -> Answer:
    """Answer for a subscription to a broker that cannot be reached."""
    return Answer(502, f"Error Connecting MQTT -> {reason}")


def not_subscribed_to(topic: str) -> Answer:
    """Answer for a topic to which the application has not subscribed."""
    return Answer(404, f"Client is not subscribed to the topic {topic}")
