"""The dashboard in a real browser, on a real router: it shows the router's numbers, steers it, and shows foreign text as text.

Covers: src/edgerouter/admin/dashboard.
"""

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import expect

from support.browser import visit
from support.plant import TOKEN, Plant, card, dead_letter, running_plant, sign_in

pytestmark = pytest.mark.asyncio(loop_scope="module")


HOSTILE_TOPIC = "plant/<img src=x onerror=alert(1)>/\u202etxt.exe"


HOSTILE = "<script>alert(1)</script>\u202e\x1b]0;owned\x07\u0000" + "x" * 65_536


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def plant(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Plant]:
    async with running_plant(tmp_path_factory.mktemp("dashboard")) as plant:
        yield plant


async def test_the_page_shows_the_numbers_of_the_status(plant: Plant) -> None:
    for number in range(5):
        await plant.publish("plant/a/temp", json.dumps({"n": number}))
    await plant.process.until_delivered()
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        status = await plant.status()
        assert status["sinks"]["cloud"]["delivered"] >= 5
        for name, sink in status["sinks"].items():
            for label, key in (
                ("Delivered", "delivered"),
                ("Pending", "pending"),
                ("Filtered", "filtered"),
                ("Dropped", "dropped"),
            ):
                shown = card(page, name).locator("dt", has_text=label).locator("xpath=following-sibling::dd[1]")
                await expect(shown).to_have_text(f"{sink[key]:,}")
        await expect(page.locator("#sources")).to_contain_text(f"{status['sources']['local']['messages']:,} total")
        await expect(page.locator("#spool-numbers")).to_contain_text(f"{status['spool']['messages']:,}")
        await expect(page.get_by_role("heading", level=1)).to_have_text("Messages reach every sink")


async def test_a_sink_that_goes_down_turns_its_card_within_three_seconds(plant: Plant) -> None:
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await expect(card(page, "cloud")).to_contain_text("Idle")
        plant.service.up = False
        try:
            await plant.publish("plant/b/temp", "{}")
            await plant.process.until(lambda status: status["sinks"]["cloud"]["state"] == "retrying")
            await expect(card(page, "cloud")).to_contain_text("Cannot deliver, retrying", timeout=3000)
            await expect(card(page, "cloud")).to_contain_text("maintenance until <b>18:00</b>")
            await expect(page.get_by_role("heading", level=1)).to_contain_text("cloud does not deliver")
            await expect(card(page, "archive")).to_contain_text(re.compile("Idle|Delivering"))
        finally:
            plant.service.up = True
        await plant.process.until_delivered()
        await expect(card(page, "cloud")).to_contain_text("Idle", timeout=10_000)


async def test_a_dead_letter_is_shown_replayed_by_a_click_and_purged_once_confirmed(plant: Plant) -> None:
    await dead_letter(plant)
    await dead_letter(plant)
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await sign_in(visited)
        rows = page.locator("#dead-rows .row")
        await expect(rows).to_have_count(2)
        await expect(rows.first).to_contain_text("edgerouter dead-letters replay")
        await rows.first.get_by_role("button", name="Show").click()
        await expect(page.get_by_role("dialog")).to_contain_text("not in my schema: <i>temp</i>")
        await page.get_by_role("button", name="Close").click()
        plant.service.poison = False
        await rows.first.get_by_role("button", name="Replay").click()
        await plant.process.until(lambda status: status["spool"]["dead_letters"] == 1 and status["sinks"]["cloud"]["pending"] == 0)
        assert plant.service.taken[-1]["topic"] == "plant/poison/temp"
        plant.service.poison = True
        await expect(rows).to_have_count(1)
        await rows.first.get_by_role("button", name="Purge").click()
        await page.get_by_role("button", name="Cancel").click()
        assert (await plant.status())["spool"]["dead_letters"] == 1
        await rows.first.get_by_role("button", name="Purge").click()
        await page.get_by_role("button", name="Purge for ever").click()
        await expect(rows).to_have_count(0)
        assert (await plant.status())["spool"]["dead_letters"] == 0


async def test_hostile_topics_and_payloads_are_shown_as_text(plant: Plant) -> None:
    """Markup, terminal escapes, reversed writing and 64 KB, in the list and in the dialog."""
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await dead_letter(plant, HOSTILE_TOPIC, HOSTILE)
        row = page.locator("#dead-rows .row", has_text="onerror")
        await expect(row).to_contain_text(r"plant/<img src=x onerror=alert(1)>/\u202etxt.exe")
        assert await row.locator("img, script, i, b b").count() == 0
        await row.get_by_role("button", name="Show").click()
        shown = await page.get_by_label("Payload").inner_text()
        assert r"<script>alert(1)</script>\u202e\x1b]0;owned\x07" in shown
        assert len(shown) < 20_000
        assert "characters)" in shown
        assert not await visited.scrolls_sideways()
        await page.get_by_role("button", name="Close").click()
        await sign_in(visited)
        await page.locator("#dead-purge").click()
        await page.get_by_role("button", name="Purge for ever").click()
        await expect(page.locator("#dead-rows .row")).to_have_count(0)


async def test_the_tap_shows_a_message_as_it_passes_and_hostile_ones_as_text(plant: Plant) -> None:
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await expect(page.locator("#tap-command")).to_contain_text("edgerouter tap '#' -c")
        await page.locator("#tap-go").click()
        await expect(page.get_by_role("dialog")).to_contain_text("token")
        await page.locator("#token-value").fill(TOKEN)
        await page.get_by_role("button", name="Use", exact=True).click()
        visited.complaints.clear()
        await page.locator("#tap-topic").fill("plant/+/temp")
        await expect(page.locator("#tap-command")).to_contain_text("edgerouter tap plant/+/temp -c")
        await page.locator("#tap-go").click()
        await expect(page.locator("#tap-note")).to_have_text("Messages that match plant/+/temp:")
        await until_open(plant)
        rows = page.locator("#tap-rows .row")
        await plant.publish("plant/other", "x")
        await plant.publish("plant/c/temp", '{"t": 21, "pin": 4711}')
        await expect(rows).to_have_count(1)
        await expect(rows.first).to_contain_text('{"t":21,"pin":"***"}')
        await page.locator("#tap-pause").check()
        await plant.publish("plant/c/temp", "22")
        await expect(page.locator("#tap-count")).to_have_text("1 shown, 1 left out")
        await page.locator("#tap-pause").uncheck()
        await page.locator("#tap-go").click()
        await expect(page.locator("#tap-note")).to_have_text("Stopped.")

        await page.locator("#tap-topic").fill("#")
        await page.locator("#tap-sink").select_option("archive")
        await page.get_by_label("after its steps").check()
        await expect(page.locator("#tap-command")).to_contain_text("--sink archive --after-steps")
        await page.locator("#tap-go").click()
        await until_open(plant)
        await plant.publish("plant/<img src=x onerror=alert(1)>\u202e/temp", HOSTILE[:65_000])
        await expect(rows).to_have_count(1)
        await expect(rows.first).to_contain_text(r"plant/<img src=x onerror=alert(1)>\u202e/temp")
        await expect(rows.first).to_contain_text(r"<script>alert(1)</script>\u202e\x1b]0;owned\x07\x00xxx")
        assert await rows.first.locator("img, script").count() == 0
        assert len(await rows.first.inner_text()) < 3000
        assert not await visited.scrolls_sideways()
        assert await visited.violations() == []


async def until_open(plant: Plant) -> None:
    """Return once the newest tap is open."""
    async with asyncio.timeout(10):
        while True:
            events = json.loads(await plant.process.get("/api/v1/events?limit=1000"))["items"]
            if [event["state"] for event in events if event["kind"] == "tap"][-1:] == ["open"]:
                return
            await asyncio.sleep(0.02)


@pytest.mark.parametrize(("width", "dark"), [(360, True), (1440, False)], ids=["phone, dark", "wide, light"])
async def test_assistive_technology_can_use_the_page_in_both_themes_and_widths(plant: Plant, width: int, dark: bool) -> None:
    """axe-core finds nothing, also in the dialogs, and nothing scrolls sideways."""
    await dead_letter(plant)
    async with visit(plant.browser, plant.url, width=width, height=800, dark=dark) as visited:
        page = visited.page
        await expect(page.locator("#dead-rows .row")).not_to_have_count(0)
        await expect(page.locator("#configuration-rows .row")).not_to_have_count(0)
        assert not await visited.scrolls_sideways()
        assert await visited.violations() == []
        if pictures := os.environ.get("DASHBOARD_PICTURES"):
            await page.screenshot(path=Path(pictures) / f"{width}-{'dark' if dark else 'light'}.png", full_page=True)
        await page.locator("#dead-rows").get_by_role("button", name="Show").first.click()
        assert await visited.violations() == []
        await page.keyboard.press("Escape")
        await page.locator("#dead-rows").get_by_role("button", name="Purge").first.click()
        assert await visited.violations() == []
        assert not await visited.scrolls_sideways()


async def test_every_button_is_reached_and_used_by_keyboard(plant: Plant) -> None:
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await expect(page.locator("#dead-rows .row")).not_to_have_count(0)
        buttons = await page.locator("button:visible:enabled, input:visible, select:visible, a:visible").count()
        reached: set[str] = set()
        for _ in range(2 * buttons):
            await page.keyboard.press("Tab")
            reached.add(await page.evaluate("(document.activeElement.dataset.reached = 'yes', document.activeElement.outerHTML)"))
        missed = page.locator("button:visible:enabled:not([data-reached]), input:visible:enabled:not([data-reached])")
        assert await missed.count() == 0
        await page.locator("#token-button").focus()
        await page.keyboard.press("Enter")
        await page.keyboard.type(TOKEN)
        await page.keyboard.press("Enter")
        await card(page, "archive").get_by_role("button").focus()
        await page.keyboard.press("Enter")
        await expect(card(page, "archive")).to_contain_text("Paused by an operator")
        await page.keyboard.press("Enter")
        await expect(card(page, "archive")).to_contain_text("Idle")


async def test_a_change_without_a_token_asks_for_one(plant: Plant) -> None:
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await card(page, "cloud").get_by_role("button", name="Pause").click()
        await expect(page.get_by_role("dialog")).to_contain_text("token")
        await page.locator("#token-value").fill(TOKEN)
        await page.get_by_role("button", name="Use", exact=True).click()
        await card(page, "cloud").get_by_role("button", name="Pause").click()
        await expect(card(page, "cloud")).to_contain_text("Paused by an operator")
        await expect(page.get_by_role("heading", level=1)).to_have_text("cloud is paused")
        await card(page, "cloud").get_by_role("button", name="Resume").click()
        await expect(card(page, "cloud")).to_contain_text("Idle")
        assert TOKEN not in await page.content()
        assert visited.complaints == ["error: Failed to load resource: the server responded with a status of 401 (Unauthorized)"]
        visited.complaints.clear()


async def test_a_router_that_goes_away_is_shown_and_found_again(plant: Plant) -> None:
    async with visit(plant.browser, plant.url) as visited:
        page = visited.page
        await expect(page.locator("#link")).to_have_text("Live")
        await plant.process.kill()
        await expect(page.get_by_role("alert")).to_contain_text("The router does not answer since", timeout=5000)
        await expect(page.locator("#cards")).to_have_css("opacity", "0.5")
        await plant.process.start()
        await expect(page.locator("#link")).to_have_text("Live")
        await expect(page.get_by_role("alert")).to_be_hidden()
        await expect(page.locator("#cards")).to_have_css("opacity", "1")
        assert all("ERR_" in complaint for complaint in visited.complaints), visited.complaints
        visited.complaints.clear()
