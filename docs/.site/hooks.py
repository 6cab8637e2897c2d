"""Hooks of the documentation site: links that leave `docs/`, the list of decisions, `llms.txt`, and search without a network.

A page links to code as GitHub shows it, `../../src/edgerouter/errors.py`. In the site such a link leads to a page made of that
file, so that it works offline. Markdown at the top and of the plugins becomes a page like any other.
"""  # noqa: INP001  (a script that MkDocs loads)

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files, InclusionLevel
from mkdocs.structure.nav import Navigation, Section
from mkdocs.structure.pages import Page

ROOT = Path(__file__).parents[2]
SHIM = "assets/iframe-worker.js"
LINK = re.compile(r"(\]\()([^)\s#:]+)((?:#[^)\s]*)?\))")
CODE = re.compile(r"(^```.*?^```$|`[^`\n]*`)", re.MULTILINE | re.DOTALL)
LANGUAGES = {".py": "python", ".yaml": "yaml", ".yml": "yaml", ".toml": "toml", ".sh": "sh", ".json": "json"}
texts: dict[str, str] = {}
"""Markdown of every page by its path, for `llms.txt`."""
order: list[tuple[Section | None, Page]] = []
"""Pages as the navigation lists them, each with its section."""


def _place(path: str) -> str:
    """Return the address in the site of a file outside of docs/."""
    return f"source/{path}" if path.endswith(".md") else f"source/{path}.md"


def _relinked(text: str, uri: str, origin: str = "") -> str:
    """Let the links of a page lead to what the site has of the repository; `origin` is the path of a page from outside of docs/."""

    def replace(match: re.Match[str]) -> str:
        base = origin or f"docs/{uri}"
        path = posixpath.normpath(posixpath.join(posixpath.dirname(base), match[2]))
        if path.startswith("docs/"):
            place = path.removeprefix("docs/")
        elif (ROOT / path).is_file():
            place = _place(path)
        else:
            return match[0]
        return f"{match[1]}{posixpath.relpath(place, posixpath.dirname(uri) or '.')}{match[3]}"

    pieces = CODE.split(text)
    return "".join(piece if CODE.fullmatch(piece) else LINK.sub(replace, piece) for piece in pieces)


def _listing(path: str) -> str:
    """Make a page of a file that is not Markdown."""
    suffix = Path(path).suffix
    return (
        f"---\nsearch: {{exclude: true}}\n---\n# {path}\n\n````{LANGUAGES.get(suffix, 'text')}\n{(ROOT / path).read_text()}\n````\n"
    )


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Search in files opened without a server needs a small script, which comes with the site."""
    config.extra["polyfills"] = [SHIM]
    return config


def _outside(files: Files) -> set[str]:
    """Find every file outside of docs/ to which a page leads, also over other such pages."""
    found: set[str] = set()
    waiting = [(file.src_uri, "", file.content_string) for file in files.documentation_pages()]
    while waiting:
        uri, origin, text = waiting.pop()
        for match in LINK.finditer(CODE.sub("", text)):
            base = origin or f"docs/{uri}"
            path = posixpath.normpath(posixpath.join(posixpath.dirname(base), match[2]))
            if path.startswith(("docs/", "..")) or path in found or not (ROOT / path).is_file():
                continue
            found.add(path)
            if path.endswith(".md"):
                waiting.append((_place(path), path, (ROOT / path).read_text()))
    return found


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the files outside of docs/ to which pages lead."""
    for path in sorted(_outside(files)):
        text = _relinked((ROOT / path).read_text(), _place(path), path) if path.endswith(".md") else _listing(path)
        files.append(File.generated(config, _place(path), content=text, inclusion=InclusionLevel.NOT_IN_NAV))
    files.append(File.generated(config, SHIM, content=(Path(__file__).parent / "iframe-worker.js").read_text()))
    return files


def _decisions() -> str:
    """Make the list of decisions from their titles."""
    lines = []
    for file in sorted((ROOT / "docs/decisions").glob("[0-9]*.md")):
        title = file.read_text().partition("\n")[0].removeprefix("# ")
        lines.append(f"- [{title}]({file.name})")
    return "\n".join(lines)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:  # noqa: ARG001  (MkDocs passes them)
    """Rewrite links that leave docs/, and list the decisions."""
    uri = page.file.src_uri
    if uri == "decisions/README.md":
        markdown += f"\n\n{_decisions()}\n"
    if uri.startswith(("source/", "decisions/")):
        page.meta.setdefault("search", {"boost": 0.2})  # a reader looks for pages about the use first
    elif uri.endswith("-fields.md"):
        page.meta.setdefault("search", {"boost": 0.5})  # ... and for the page that explains before the table
    if uri.startswith("source/"):
        return markdown
    texts[uri] = markdown
    return _relinked(markdown, uri)


def _summary(text: str) -> str:
    """Return the first sentence of a page, without markup."""
    for paragraph in re.split(r"\n\s*\n", text):
        if not paragraph.lstrip().startswith(("#", "<", "|", "!", "```", ">", "- ", ":::")):
            plain = re.sub(r"\[([^\]]*)\]\([^)]*\)|[`*]", r"\1", " ".join(paragraph.split()))
            return re.split(r"(?<=[.:])\s", plain)[0].rstrip(":")
    return ""


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> None:  # noqa: ARG001  (MkDocs passes them)
    """Keep the order of the navigation for `llms.txt`."""
    order[:] = [(page.parent, page) for page in nav.pages]


def on_post_build(config: MkDocsConfig) -> None:
    """Write `llms.txt`, the list of pages for programs that read, and `llms-full.txt`, their text."""
    lines = [f"# {config.site_name}", "", f"> {config.site_description}"]
    whole = []
    section = None
    for parent, page in order:
        top = str([parent, *parent.ancestors][-1].title) if parent else "Start"
        if top != section:
            lines += ["", f"## {top}", ""]
            section = top
        uri = page.file.src_uri
        lines.append(f"- [{page.title}]({uri}): {_summary(texts[uri])}")
        (Path(config.site_dir) / uri).write_text(texts[uri])
        whole.append(f"<!-- {uri} -->\n\n{texts[uri].strip()}\n")
    (Path(config.site_dir) / "llms.txt").write_text("\n".join(lines) + "\n")
    (Path(config.site_dir) / "llms-full.txt").write_text("\n".join(whole))
