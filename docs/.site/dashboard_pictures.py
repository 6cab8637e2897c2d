"""Take the pictures of the dashboard for docs/how-to/dashboard.md, of a router with one sink that is down and one that is behind.

Needs Debian's chromium and webp. Run: `.venv/bin/python docs/.site/dashboard_pictures.py docs/how-to`
"""  # noqa: INP001  (a script)

from __future__ import annotations

import asyncio
import json
import random
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import yaml
from aiohttp import web
from playwright.async_api import Browser, async_playwright

TOKEN = "a-token-for-the-pictures-of-the-docs"  # noqa: S105  (of a router on loopback that lives for two minutes)
SERVICE, INTAKE, ADMIN = 19181, 19182, 19183
SECONDS = 75
"""Time until the slow sink counts as behind."""


def configuration(folder: Path) -> dict[str, Any]:
    """Return a configuration with three sinks, one of which delivers as fast as messages come."""
    service = f"http://127.0.0.1:{SERVICE}"
    return {
        "sources": {
            "line-4": {"type": "http", "listen": f"127.0.0.1:{INTAKE}", "expect": {"plant/line-4/pressure": "10s"}},
        },
        "sinks": {
            "archive": {"type": "file", "path": str(folder / "archive")},
            "erp": {"type": "http", "url": f"{service}/down", "retry": {"first_delay": "1s", "max_delay": "5s"}},
            "history": {"type": "http", "url": f"{service}/slow", "batch": {"max_messages": 5}},
        },
        "spool": {"path": str(folder / "spool"), "max_bytes": "16MiB"},
        "admin": {
            "listen": f"127.0.0.1:{ADMIN}",
            "tokens": {"maintenance": {"token": TOKEN}},
            "tap": {"enabled": True, "redact": {"fields": ["pin"]}},
        },
    }


async def down(request: web.Request) -> web.Response:
    """Refuse everything for now."""
    await request.read()
    return web.Response(status=503, text="maintenance until 18:00")


async def slow(request: web.Request) -> web.Response:
    """Accept a batch every two seconds, and one unit never."""
    if b"unit" in await request.read():
        return web.Response(status=422, text="unknown unit 'furlong'")
    await asyncio.sleep(2)
    return web.Response()


@asynccontextmanager
async def services() -> AsyncIterator[None]:
    """Serve the sinks' service."""
    app = web.Application()
    app.router.add_post("/down", down)
    app.router.add_post("/slow", slow)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", SERVICE).start()
    yield
    await runner.cleanup()


async def publish() -> None:
    """Publish as a plant does, for ever."""
    number = 0
    async with aiohttp.ClientSession(f"http://127.0.0.1:{INTAKE}") as session:
        while True:
            number += 1
            payload: dict[str, Any] = {"value": round(random.uniform(18, 30), 1)}  # noqa: S311  (a temperature)
            topic = f"plant/line-{number % 4}/temperature"
            if number in (3, 7):
                topic, payload = "plant/line-2/speed", {"value": 3, "unit": "furlong"}
            if number % 5 == 0:
                topic, payload = "plant/line-4/login", {"user": 17, "pin": 4711}
            async with session.post(f"/topics/{topic}", data=json.dumps(payload)) as response:
                await response.read()
            await asyncio.sleep(0.1)


@asynccontextmanager
async def router(folder: Path) -> AsyncIterator[None]:
    """Run the router with messages."""
    file = folder / "edgerouter.yaml"
    file.write_text(yaml.safe_dump(configuration(folder)))
    arguments = (sys.executable, "-m", "edgerouter.cli.main", "run", "-c", file.name)
    process = await asyncio.create_subprocess_exec(
        *arguments, cwd=folder, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(60), aiohttp.ClientSession(f"http://127.0.0.1:{ADMIN}") as session:
            while True:
                try:
                    async with session.get("/readyz"):
                        break
                except aiohttp.ClientError:
                    await asyncio.sleep(0.2)
        yield
    finally:
        process.terminate()
        await process.wait()


async def picture(browser: Browser, file: Path, *, width: int, height: int, part: str = "") -> None:
    """Sign in, open the tap, and take one picture from the top of the page or of a part on; of a phone in dark colours."""
    context = await browser.new_context(
        viewport={"width": width, "height": height}, color_scheme="dark" if width < 500 else "light", reduced_motion="reduce"
    )
    page = await context.new_page()
    await page.goto(f"http://127.0.0.1:{ADMIN}/")
    await page.get_by_role("button", name="Token").click()
    await page.locator("#token-value").fill(TOKEN)
    await page.get_by_role("button", name="Use", exact=True).click()
    await page.locator("#tap-go").click()
    await page.locator("#tap-rows .row").nth(7).wait_for()
    await page.evaluate("id => id ? document.getElementById(id).scrollIntoView() : scrollTo(0, 0)", part)
    png = file.with_suffix(".png")
    await page.screenshot(path=png)
    await context.close()
    convert = await asyncio.create_subprocess_exec("cwebp", "-quiet", "-lossless", "-z", "9", str(png), "-o", str(file))
    await convert.wait()
    png.unlink()


async def main(target: Path) -> None:
    """Take the pictures."""
    with tempfile.TemporaryDirectory() as folder:
        async with services(), router(Path(folder)):
            publishing = asyncio.create_task(publish(), name="publish")
            await asyncio.sleep(SECONDS)
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
                await picture(browser, target / "dashboard-wide.webp", width=1440, height=1900)
                await picture(browser, target / "dashboard-phone.webp", width=360, height=1350)
                await picture(browser, target / "dashboard-phone-tap.webp", width=360, height=900, part="tap")
                await browser.close()
            publishing.cancel()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
