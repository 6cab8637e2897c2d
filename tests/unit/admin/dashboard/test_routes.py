"""The dashboard's files are small, stay on this host, and are served so that nothing in a page can act as a script."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.resources import files

import aiohttp
import pytest

from edgerouter.admin.dashboard.routes import FILES, dashboard_routes
from edgerouter.admin.server import serve
from edgerouter.config.admin import AdminConfig
from support.mosquitto import free_port

MOST_BYTES = 60_000
"""Of the whole dashboard, as a browser reads it."""


def source(name: str) -> str:
    """Return one of the files."""
    return files("edgerouter.admin.dashboard").joinpath("static", name).read_text("utf-8")


@asynccontextmanager
async def served() -> AsyncIterator[str]:
    """Serve the dashboard alone, on an address where reading needs a token; yield its address."""
    port = free_port()
    async with serve(dashboard_routes(), None, AdminConfig(listen=f"0.0.0.0:{port}")):
        yield f"http://127.0.0.1:{port}"


def test_the_whole_dashboard_is_under_60_kb() -> None:
    assert sum(len(source(name).encode()) for name, _ in FILES.values()) < MOST_BYTES


def test_no_file_names_another_host() -> None:
    """The namespace of SVG is a name, and is never requested."""
    for name, _ in FILES.values():
        assert set(re.findall(r"[a-z]+://[^\s\"'`)]+", source(name))) <= {"http://www.w3.org/2000/svg"}, name
        assert not re.search(r"(?:src|href)=\"/", source(name)), f"{name}: a path behind a proxy's prefix must be relative"


def test_text_never_becomes_markup_or_code() -> None:
    script = source("dashboard.js")
    assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|srcdoc|DOMParser", script)
    assert not re.search(r"<script(?![^>]* src=)|<style|\son\w+=|\sstyle=", source("page.html"))


@pytest.mark.parametrize("path", FILES)
async def test_a_file_is_served_without_a_token_under_a_strict_policy_and_revalidated(path: str) -> None:
    """A browser that has the file gets 304 and no body; a page of another router version is a new file."""
    async with served() as url, aiohttp.ClientSession() as http:
        async with http.get(url + path) as answer:
            assert answer.status == 200
            assert answer.content_type == FILES[path][1]
            policy = answer.headers["Content-Security-Policy"]
            assert policy.startswith("default-src 'none'; ")
            assert "frame-ancestors 'none'" in policy
            assert "unsafe" not in policy
            assert answer.headers["X-Content-Type-Options"] == "nosniff"
            assert answer.headers["Referrer-Policy"] == "no-referrer"
            assert answer.headers["Cache-Control"] == "no-cache"
            tag = answer.headers["ETag"]
        async with http.get(url + path, headers={"If-None-Match": tag}) as again:
            assert again.status == 304
            assert await again.read() == b""
        async with http.get(url + path, headers={"If-None-Match": '"other"'}) as changed:
            assert changed.status == 200
