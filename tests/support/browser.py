"""Debian's Chromium on pages of a router: what a page logs, requests and hides from assistive technology is collected."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, ConsoleMessage, Page, Route, async_playwright

AXE = Path(__file__).parents[2] / ".tools" / "axe.min.js"


class Visit:
    """One page, with everything that must not happen on it.

    Args:
        page: the page.
        origin: address that the page may talk to.
    """

    def __init__(self, page: Page, origin: str) -> None:
        self.page = page
        self.origin = origin
        self.complaints: list[str] = []
        """Errors and warnings of the console, exceptions, and requests of another host."""
        page.on("console", self._logged)
        page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def _logged(self, message: ConsoleMessage) -> None:
        if message.type in ("error", "warning"):
            self.complaints.append(f"{message.type}: {message.text}")

    async def guard(self, route: Route) -> None:
        """Let a request pass to the router alone."""
        if route.request.url.startswith(self.origin + "/"):
            await route.continue_()
        else:
            self.complaints.append(f"request of {route.request.url}")
            await route.abort()

    async def violations(self) -> list[str]:
        """Return what axe-core finds: the rule and the element."""
        if not AXE.exists():
            pytest.skip("axe-core is not installed; install it with: .ci/install-axe")
        # evaluated by the debugger, which the page's policy does not bind
        await self.page.evaluate(AXE.read_text("utf-8"))
        found: dict[str, Any] = await self.page.evaluate("axe.run(document, {resultTypes: ['violations']})")
        return [f"{rule['id']}: {node['html'][:300]}" for rule in found["violations"] for node in rule["nodes"]]

    async def scrolls_sideways(self) -> bool:
        """True if the page is wider than its window."""
        wider: bool = await self.page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
        return wider


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    """Start Chromium; skip the test where it is not installed."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed; install it with: .ci/require chromium")
    # its sandbox refuses root, and the pages are ours
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=arguments)
        try:
            yield browser
        finally:
            await browser.close()


@asynccontextmanager
async def visit(browser: Browser, url: str, *, width: int = 1280, height: int = 900, dark: bool = False) -> AsyncIterator[Visit]:
    """Open a page in a fresh profile; fail at the end if something happened that must not."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if dark else "light", reduced_motion="reduce"
    )
    try:
        page = await context.new_page()
        page.set_default_timeout(8_000)
        visited = Visit(page, url.rstrip("/"))
        await page.route("**/*", visited.guard)
        await page.goto(url)
        yield visited
        assert not visited.complaints
    finally:
        await context.close()
