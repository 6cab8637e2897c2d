"""The documentation site builds strictly, asks no other host for anything, and is found by search and by programs.

Covers: mkdocs.yml, docs/.site.
"""

from __future__ import annotations

import fcntl
import importlib.util
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from support.browser import chromium

pytestmark = pytest.mark.timeout(300)  # whichever test is first builds the site, on a busy machine
ROOT = Path(__file__).parents[2]
LOADED = re.compile(r"<(?:script|img|iframe|source|video|audio|embed)\b[^>]*?\b(?:src|srcset)=[\"']?((?:https?:)?//[^\"' >]+)")
STYLES = re.compile(
    r"<link\b(?=[^>]*\brel=[\"']?(?:stylesheet|preconnect|icon|preload|prefetch))[^>]*\bhref=[\"']?((?:https?:)?//[^\"' >]+)"
)
IN_CSS = re.compile(r"(?:url\(|@import\s+)[\"']?((?:https?:)?//[^\"')]+)")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site once for all processes of a run."""
    folder = tmp_path_factory.getbasetemp()
    shared = (folder.parent if "PYTEST_XDIST_WORKER" in os.environ else folder) / "site"
    with Path(f"{shared}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (shared / "index.html").exists():
            built = subprocess.run(
                [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(shared)],
                cwd=ROOT,
                env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
                capture_output=True,
                text=True,
                check=False,
            )
            assert built.returncode == 0, f"the site does not build strictly:\n{built.stdout}{built.stderr}"
    return shared


def test_no_page_asks_another_host_for_anything(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 40
    for page in pages:
        text = page.read_text()
        assert not [*LOADED.findall(text), *STYLES.findall(text)], page.relative_to(site)
    for sheet in site.rglob("*.css"):
        assert not IN_CSS.findall(sheet.read_text()), sheet.relative_to(site)


def test_llms_txt_lists_every_page_with_a_sentence_and_its_markdown_is_served(site: Path) -> None:
    entries = re.findall(r"^- \[([^\]]+)\]\(([^)]+)\): (.*)$", (site / "llms.txt").read_text(), re.MULTILINE)
    assert {uri for _, uri, _ in entries} == {
        str(page.relative_to(ROOT / "docs")) for page in (ROOT / "docs").rglob("*.md") if not re.match(r"\d", page.name)
    }
    for title, uri, sentence in entries:
        assert len(sentence) > 10, f"{title}: begin the page with a sentence that says what is on it"
        assert (site / uri).read_text().startswith("# "), uri


def test_the_diagrams_are_those_that_their_script_draws() -> None:
    spec = importlib.util.spec_from_file_location("diagrams", ROOT / "docs/.site/diagrams.py")
    assert spec is not None
    assert spec.loader is not None
    diagrams = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(diagrams)
    for name, text in diagrams.drawn().items():
        assert (ROOT / "docs/assets" / name).read_text() == text, "run: python docs/.site/diagrams.py"


# Questions

QUESTIONS = tomllib.loads((ROOT / "docs/.site/questions.toml").read_text())["question"]
RESULT = "li.md-search-result__item > a.md-search-result__link"


def linked(page: Path) -> set[Path]:
    """Return the pages to which a page leads."""
    targets = set(re.findall(r"<a\b[^>]*\bhref=[\"']?([^\"' >#]+\.html)", page.read_text()))
    return {Path(os.path.normpath(page.parent / target)) for target in targets if "://" not in target}


def test_the_page_that_answers_a_question_is_two_clicks_from_the_start(site: Path) -> None:
    assert len(QUESTIONS) == 35
    first = linked(site / "index.html")
    reached = first.union(*(linked(page) for page in first))
    for question in QUESTIONS:
        for page in question["pages"]:
            assert site / f"{page}.html" in reached, question["asks"]


async def test_a_search_without_a_network_answers_each_question_among_its_first_three(site: Path) -> None:
    """Opened as files, as from an archive on a box."""
    async with chromium() as browser:
        context = await browser.new_context(offline=True)
        page = await context.new_page()
        asked: list[str] = []
        page.on(
            "request", lambda request: None if request.url.startswith(("file:", "data:", "blob:")) else asked.append(request.url)
        )
        await page.goto(f"file://{site}/index.html")
        wrong = []
        for question in QUESTIONS:
            words = question["words"]
            await page.fill(".md-search__input", words)
            await page.press(".md-search__input", "End")  # the search begins when a key is released
            await page.wait_for_selector(f'{RESULT}[href*="h={words.replace(" ", "+")}"]', state="attached", timeout=20_000)
            found = await page.eval_on_selector_all(RESULT, "links => links.map(link => new URL(link.href).pathname)")
            best = [Path(address).relative_to(site).with_suffix("").as_posix() for address in dict.fromkeys(found)][:3]
            if not set(best) & set(question["pages"]):
                wrong.append(f"{question['asks']} {question['words']!r} finds {best}")
        await context.close()
    assert not wrong, "\n".join(wrong)
    assert not asked
