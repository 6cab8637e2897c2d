"""Topic and form of a request, from its path and headers."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl, unquote

from aiohttp import web
from multidict import CIMultiDictProxy

from edgerouter.http_server.problems import Problem
from edgerouter.topic_cache import TopicCache
from edgerouter.topics import check_name

Form = Literal["one", "array", "lines"]
"""One message, a JSON array of messages, or a message on each line."""

TOPIC_HEADER: Final = "Edgerouter-Topic"
_LINES: Final = frozenset(
    {"application/x-ndjson", "application/ndjson", "application/jsonl", "application/jsonlines", "application/x-jsonlines"}
)


class Target(NamedTuple):
    """Meaning of a path."""

    topic: str
    """Empty: a header names it."""
    form: Form | None
    """`None`: the content type decides."""


class Targets:
    """Finds the topic and form of requests, and remembers those of each path.

    Args:
        path: in front of topics, such as `/topics`.
        prefix: text in front of every topic.
    """

    def __init__(self, path: str, prefix: str) -> None:
        self._path = path
        self._prefix = prefix
        self._by_path = TopicCache(self._parse)
        self._by_header = TopicCache(self._topic)

    def target(self, request: web.BaseRequest) -> tuple[str, Form]:
        """Return topic and form of a request.

        Raises:
            Problem: the path is not one of topics, or the topic or form is not valid.
        """
        topic, form = self._by_path[request.raw_path]
        headers = request.headers
        if not topic:
            named = headers.get(TOPIC_HEADER)
            if not named:
                raise Problem(400, f"name a topic: POST {self._path}/TOPIC, or the header {TOPIC_HEADER}")
            topic = self._by_header[named]
        return topic, form or _form_of(headers)

    def _parse(self, raw: str) -> Target:
        path, _, query = raw.partition("?")
        if path.startswith("http"):  # the absolute form that proxies use
            path = "/" + path.split("/", 3)[3] if path.count("/") > 2 else "/"
        if path != self._path and not path.startswith(self._path + "/"):
            raise Problem(404, f"publish with POST {self._path}/TOPIC")
        encoded = path[len(self._path) + 1 :]
        return Target(self._topic(encoded) if encoded else "", _form(query))

    def _topic(self, encoded: str) -> str:
        try:
            topic = self._prefix + unquote(encoded, errors="strict")
            return check_name(topic)
        except UnicodeDecodeError:
            raise Problem(400, "the topic is not UTF-8, percent-encoded") from None
        except ValueError as error:
            raise Problem(400, f"not a topic to publish to: {error}") from None


def _form(query: str) -> Form | None:
    form: Form | None = None
    for name, value in parse_qsl(query, keep_blank_values=True):
        if name != "batch":
            raise Problem(400, f"unknown query parameter {name[:50]!r}; known is batch=array or batch=lines")
        if value == "array":
            form = "array"
        elif value == "lines":
            form = "lines"
        else:
            raise Problem(400, f"unknown batch={value[:50]!r}; known are batch=array and batch=lines")
    return form


def is_json_lines(content_type: str) -> bool:
    """Return true for the content types of JSON Lines."""
    return content_type.partition(";")[0].strip().lower() in _LINES


def _form_of(headers: CIMultiDictProxy[str]) -> Form:
    return "lines" if is_json_lines(headers.get("Content-Type", "")) else "one"
