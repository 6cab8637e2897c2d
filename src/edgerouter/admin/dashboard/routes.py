"""Routes of the dashboard's four files, which hold no data of the router."""

from __future__ import annotations

import hashlib
from functools import cache
from importlib.resources import files
from typing import Final

from aiohttp import web

from edgerouter.admin.access import Caller
from edgerouter.admin.routes import Route

FILES: Final = {
    "/": ("page.html", "text/html"),
    "/dashboard.js": ("dashboard.js", "text/javascript"),
    "/dashboard.css": ("dashboard.css", "text/css"),
    "/icon.svg": ("icon.svg", "image/svg+xml"),
}
"""Path to package data and media type."""

HEADERS: Final = {
    # no script but the page's, no request to another host, no frame, and no text that becomes markup
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
    ),
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # a router that was updated serves its new page at once; unchanged files cost a 304
    "Cache-Control": "no-cache",
}


def dashboard_routes() -> list[Route]:
    """Return the routes; a file is read at its first request, since most boxes are never looked at."""
    return [_route(path, name, media_type) for path, (name, media_type) in FILES.items()]


def _route(path: str, name: str, media_type: str) -> Route:
    async def serve(request: web.Request, _: Caller) -> web.Response:
        body, tag = _file(name)
        response = web.Response(headers=HEADERS)
        response.etag = tag
        if any(known.value in (tag, "*") for known in request.if_none_match or ()):
            response.set_status(304)
            return response
        response.content_type = media_type
        response.charset = "utf-8"
        response.body = body
        return response

    # it asks for a token itself, so it needs none
    return Route("GET", path, "nothing", serve)


@cache
def _file(name: str) -> tuple[bytes, str]:
    body = files(__package__).joinpath("static", name).read_bytes()
    return body, hashlib.sha256(body).hexdigest()[:32]
