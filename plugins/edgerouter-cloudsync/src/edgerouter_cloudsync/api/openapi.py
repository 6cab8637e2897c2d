"""Description of the API in OpenAPI 3.0, served with it."""

from __future__ import annotations

from typing import Any, Final

BASE: Final = "/api/v1/orchestration/cloudsyncmgr"

_TEXT: Final = {"type": "string", "minLength": 1}
_APP: Final = {**_TEXT, "maxLength": 256, "example": "sensor-reader"}
_TOPIC: Final = {**_TEXT, "maxLength": 1024, "example": "plant/temperature"}
_URL: Final = {**_TEXT, "maxLength": 253, "description": "Host of the broker, without scheme and port", "example": "broker.example"}
_ANSWER: Final = {
    "type": "object",
    "required": ["Message"],
    "properties": {"Message": {"type": "string"}, "Detail": {"type": "string"}},
}
_PUBLISHED: Final = {
    **_ANSWER,
    "properties": {**_ANSWER["properties"], "ServiceName": {"type": "string"}, "RemoteTargetInfo": {"type": "string"}},  # type: ignore[dict-item]  # a mapping
}
_SUBSCRIPTION: Final = {
    "type": "object",
    "properties": {name: {"type": "string"} for name in ("appid", "topic", "url")} | {"connected": {"type": "boolean"}},
}
_BROKER: Final = {
    "type": "object",
    "properties": {
        "url": {"type": "string"},
        "waiting": {"type": "integer"},
        "reason": {"type": "string"},
        "subscribed": {"type": "boolean"},
    },
}
_FAULTS: Final = {
    "400": "A field is missing or invalid",
    "401": "The token is missing or not valid",
    "403": "The caller, the broker or the call is not allowed",
    "413": "The request is too large",
    "429": "Too many requests",
    "502": "The broker cannot be reached, or refuses",
    "503": "Nothing can be stored now",
}


def document(*, tokens: bool) -> dict[str, Any]:
    """Return the description; with `tokens`, each call needs one."""
    paths = {
        f"{BASE}/publish": {"post": _call("Publish data", _body("appid", "payload", "topic", "url"), published=True)},
        f"{BASE}/subscribe": {"post": _call("Subscribe to a topic", _body("appid", "topic", "url"))},
        f"{BASE}/unsubscribe": {"post": _call("End a subscription", _body("appid", "topic", "url"), missing=True)},
        f"{BASE}/disconnect": {"post": _call("End all subscriptions at a broker", _body("appid", "url"), missing=True)},
        f"{BASE}/getsubscribedata/{{url}}/{{topic}}/{{appid}}": {
            "get": _call(
                "Get the latest data", None, [_place("url", _URL), _place("topic", _TOPIC), _place("appid", _APP)], missing=True
            )
        },
        f"{BASE}/getsubscribedata/{{topic}}/{{appid}}": {
            "get": _call("Get the latest data of any broker", None, [_place("topic", _TOPIC), _place("appid", _APP)], missing=True)
        },
        f"{BASE}/subscriptions": {"get": _listing("List subscriptions", "Subscriptions", _SUBSCRIPTION, [_query("appid", _APP)])},
        f"{BASE}/health": {"get": _listing("State of the brokers", "Brokers", _BROKER)},
        f"{BASE}/openapi.json": {"get": {"summary": "This description", "responses": {"200": {"description": "The description"}}}},
    }
    found: dict[str, Any] = {
        "openapi": "3.0.3",
        "info": {"title": "CloudSync", "version": "1"},
        "paths": paths,
    }
    if tokens:
        scheme = {"type": "apiKey", "in": "header", "name": "Authorization"}
        found |= {"components": {"securitySchemes": {"token": scheme}}, "security": [{"token": []}]}
    return found


def _body(*names: str) -> dict[str, Any]:
    kinds: dict[str, Any] = {"appid": _APP, "topic": _TOPIC, "url": _URL, "payload": {"type": "string", "example": "21.5"}}
    schema = {"type": "object", "required": list(names), "properties": {name: kinds[name] for name in names}}
    # the original's documentation sends text/plain
    return {"required": True, "content": {kind: {"schema": schema} for kind in ("application/json", "text/plain")}}


def _place(name: str, schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "path", "required": True, "schema": schema}


def _query(name: str, schema: Any) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "schema": schema}


def _json(description: str, schema: Any) -> dict[str, Any]:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


def _call(
    summary: str, body: Any = None, parameters: Any = (), *, published: bool = False, missing: bool = False
) -> dict[str, Any]:
    schema = _PUBLISHED if published else _ANSWER
    responses = {"200": _json("Done", schema)} | {code: _json(text, schema) for code, text in _FAULTS.items()}
    if published:
        responses["202"] = _json("Stored; published once the broker takes it", schema)
    if missing:
        responses["404"] = _json("The application has not subscribed to this", _ANSWER)
    found: dict[str, Any] = {"summary": summary, "responses": responses, "parameters": list(parameters)}
    return found | ({"requestBody": body} if body is not None else {})


def _listing(summary: str, key: str, item: Any, parameters: Any = ()) -> dict[str, Any]:
    schema = {**_ANSWER, "properties": {"Message": {"type": "string"}, key: {"type": "array", "items": item}}}
    found = _call(summary, None, parameters)
    found["responses"]["200"] = _json("Done", schema)
    return found
