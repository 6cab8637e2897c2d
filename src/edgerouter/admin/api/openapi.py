"""The API described in OpenAPI 3.1, from its endpoints and the types that they take and return."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from typing import Any, Final

import msgspec

from edgerouter import __version__
from edgerouter.admin.api.endpoint import EVENT_STREAM, PREFIX, Endpoint
from edgerouter.admin.control import Nothing

_TEMPLATE: Final = "#/components/schemas/{name}"
_PROBLEM: Final = {
    "type": "object",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "The reason, and what to do."},
    },
}
_USUAL: Final = {400: "The request is not valid", 401: "A valid token is missing", 403: "The caller may not do this"}
_OF_CHANGES: Final = {
    409: "It cannot be done now",
    413: "The body is too large",
    415: "The body is not JSON",
}


@cache
def document(endpoints: Sequence[Endpoint]) -> dict[str, Any]:
    """Return the description."""
    endpoints = [endpoint for endpoint in endpoints if not endpoint.only_owner]
    types = [kind for endpoint in endpoints for kind in (endpoint.asks, endpoint.answer, endpoint.sends) if kind is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=_TEMPLATE)
    by_type = dict(zip(map(repr, types), schemas, strict=True))
    paths: dict[str, Any] = {}
    for endpoint in endpoints:
        paths.setdefault(PREFIX + endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "edgerouter",
            "version": __version__,
            "description": "The admin API of a running router. Times are seconds since 1970-01-01 UTC unless a field says more.",
        },
        "paths": paths,
        "components": {
            "schemas": {**components, "Problem": _PROBLEM},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, schemas: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    answers: dict[str, Any] = {}
    if endpoint.run is not None:
        answers["application/json"] = {"schema": schemas[repr(endpoint.answer)]}
    if endpoint.stream is not None:
        text = f"Server-sent events; the data of each is JSON: {schemas[repr(endpoint.sends)].get('$ref', '')}"
        answers[EVENT_STREAM] = {"schema": {"type": "string", "description": text}}
    problems = _USUAL | (_OF_CHANGES if endpoint.changes else {}) | dict(endpoint.problems)
    found: dict[str, Any] = {
        "operationId": _identifier(endpoint),
        "summary": endpoint.summary,
        # reading on loopback needs none
        "security": [{"token": []}, {}] if endpoint.need == "read" else [{"token": []}],
        "parameters": [*_path_parameters(endpoint), *_query_parameters(endpoint, schemas, components)],
        "responses": {
            "200": {"description": "Done", "content": answers},
            **{str(code): _problem(text) for code, text in sorted(problems.items())},
        },
    }
    if endpoint.changes and endpoint.asks is not Nothing:
        found["requestBody"] = {"required": True, "content": {"application/json": {"schema": schemas[repr(endpoint.asks)]}}}
    return found


def _identifier(endpoint: Endpoint) -> str:
    return re.sub(r"\W+", "_", f"{endpoint.method.lower()}{endpoint.path}").strip("_")


def _problem(text: str) -> dict[str, Any]:
    return {
        "description": text,
        "content": {"application/problem+json": {"schema": {"$ref": _TEMPLATE.format(name="Problem")}}},
    }


def _path_parameters(endpoint: Endpoint) -> list[dict[str, Any]]:
    names = re.findall(r"\{(\w+)\}", endpoint.path)
    return [{"name": name, "in": "path", "required": True, "schema": _path_schema(endpoint, name)} for name in names]


def _path_schema(endpoint: Endpoint, name: str) -> dict[str, Any]:
    return {"type": "integer", "minimum": 0} if name in endpoint.numbers else {"type": "string", "minLength": 1}


def _query_parameters(endpoint: Endpoint, schemas: dict[str, Any], components: dict[str, Any]) -> list[dict[str, Any]]:
    if endpoint.changes or endpoint.asks is Nothing:
        return []
    name = schemas[repr(endpoint.asks)]["$ref"].rpartition("/")[2]
    fields = components[name]
    required = set(fields.get("required", ()))
    return [
        {"name": field, "in": "query", "required": field in required, "schema": _without_null(schema)}
        for field, schema in fields["properties"].items()
    ]


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema of a parameter, which can be left out and has no null."""
    kinds = [kind for kind in schema.get("anyOf", ()) if kind != {"type": "null"}]
    if len(kinds) == 1:
        only: dict[str, Any] = kinds[0]
        return only
    return {key: value for key, value in schema.items() if key != "default" or value is not None}
