"""Docstrings, comments, messages and pages use the words of the field, and none that were coined here.

A rule names a pattern, the reason against it, and the words to use instead.

Covers: src, tests, docs.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
CODE = [
    *(ROOT / "src").rglob("*.py"),
    *(file for kind in ("src", "tests") for file in ROOT.glob(f"plugins/*/{kind}/**/*.py")),
    *(file for folder in ("tests", "benchmarks", "examples", "deploy", "docs/examples") for file in (ROOT / folder).rglob("*.py")),
]
PAGES = [*(ROOT / "docs").rglob("*.md"), *ROOT.glob("plugins/*/README.md"), *(ROOT / "examples").rglob("*.md")]
PAGES += [ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
EXCERPT = re.compile(r"^```.*?^```$|`[^`\n]*`", re.MULTILINE | re.DOTALL)
COMMENT = re.compile(r"(?:^ *|  )# .*")
"""By its blanks, as the formatter puts them: the tokenizer takes longer than all that is done here together."""
SENTENCE = 2
"""Number of blanks from which a string literal counts as a message."""


class Rule(NamedTuple):
    """A pattern that the prose must not match."""

    pattern: re.Pattern[str]
    reason: str
    signs: tuple[str, ...] = ()
    """Texts in small letters of which one is in each match; they are found faster than the pattern."""


OPENING = Rule(
    re.compile(r"(?:What|Whether|Who|How|Where|When|Which)\b"),
    "a docstring starts with a verb or a noun that names the thing: 'Return the ...', 'Highest ...', 'True if ...'",
)
RULES = [
    Rule(re.compile(pattern, re.IGNORECASE), reason, tuple(signs.split("|")))
    for pattern, reason, signs in (
        (
            r"\b(?:some|no|every|any)body\b|\bwhoever\b",
            "name the party: the operator, a subscriber, another process, no reader",
            "body|whoever",
        ),
        (r"\bshel(?:f|ves)\b", "readers get chunks from the `log storage`", "shelf|shelves"),
        (r"\bletterbox", "messages a service will never take are `dead letters`", "letterbox"),
        (r"\bhurr(?:y|ies|ied)\b", "ask for a commit without waiting for the interval: `flush now`", "hurr"),
        (r"\blanes?\b", "a place in a range is a `cursor`, a loop of a sink a `worker`", "lane"),
        (
            r"(?<!without )(?<!no )(?<!any )\bgaps?\b",
            "unacknowledged messages are `in flight`; else name the missing sequences",
            "gap",
        ),
        (r"\bgates?\b", "`concurrency limiter` or `duplicate filter`", "gate"),
        (r"\bin words\b", "say `as text` or `readable`", "in words"),
        (r"\bof no use\b", "say `unusable`, `expired` or `pointless`", "of no use"),
        (r"\bg(?:o|oes|oing|one) on with\b", "say `resume` or `continue`", " on with"),
        (r"\btak(?:e|es|ing) in\b", "say `receive`, `accept` or `read`", "take in|takes in|taking in"),
        (
            r"\bof (?:its|their|our) own\b(?! (?!(?:and|or|in|that|for|at|on|of|is|so)\b)[a-z])",
            "say `its own` or `a separate`",
            "its own|their own|our own",
        ),
        (
            r"(?<!there )\b(?:is|are|was|were) no (?!longer\b|more\b|better\b|worse\b)",
            "say `is not a ...` or `there is no ...`",
            "is no |are no |was no |were no ",
        ),
        (
            r"\btells?\b|\b(?:is|are|was|were|be|been) told\b",
            "say `report`, `show`, `log`, `notify` or `return`",
            "tell|told",
        ),
        (
            r"\bmeekly\b|\bbelieves?\b|\bbrim\b|\bfor good\b",
            "use the technical word in place of the picture",
            "meekly|believe|brim|for good",
        ),
        (r"\belsewise\b|\bof whom\b|\bwithal\b", "say `otherwise`, `whose` or `besides`", "elsewise|of whom|withal"),
        (r"\bstands? still\b", "say `does not deliver`, `is stuck` or `waits`", "stand still|stands still"),
    )
]


PAGE_RULES = [
    Rule(re.compile(pattern, re.IGNORECASE), reason)
    for pattern, reason in (
        (r"\banew\b", "say `again`, `new` or `restore`"),
        (r"\bfor want of\b|\bto be had\b|\bin vain\b", "say `because ... is missing`, `available` or `without success`"),
        (r"\bshall\b", "say `should`, `must` or `will`"),
        (r"\b(?:spool|router) keeps what came\b|\bas they came\b", "say `as received`"),
    )
]
"""Rules for pages alone; code need not keep them."""


class Text(NamedTuple):
    """A piece of prose with its place."""

    file: str
    line: int
    words: str
    is_docstring: bool = False


def of_tree(tree: ast.Module, file: str) -> Iterator[Text]:
    """Yield docstrings, including those of fields; messages; and names of definitions, which read as sentences in tests."""
    docstrings = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            docstrings.add(node.value)
            for offset, line in enumerate(node.value.value.splitlines()):
                yield Text(file, node.lineno + offset, line, is_docstring=offset == 0)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield Text(file, node.lineno, node.name.replace("_", " "))
        elif isinstance(node, ast.Constant) and node not in docstrings and str(node.value).count(" ") >= SENTENCE:
            yield Text(file, node.lineno, str(node.value))


OPENED = re.compile(r'"""' + OPENING.pattern.pattern)
BORDER = re.compile(r"""["']\s*\n\s*f?["']""")
"""Border between two parts of one message."""


def suspicious(source: str) -> bool:
    """Return true if a rule may be broken somewhere in a module: a syntax tree of each takes ten times as long."""
    plain = BORDER.sub("", source).replace("\\n", " ").replace("\\t", " ")
    names = plain.replace("_", " ")
    small = f"{plain}{names}".lower()
    found = (rule.pattern for rule in RULES if any(sign in small for sign in rule.signs))
    return bool(OPENED.search(source)) or any(pattern.search(plain) or pattern.search(names) for pattern in found)


def of_code(path: Path) -> Iterator[Text]:
    """Yield all prose of a module, if a rule may be broken in it."""
    source, file = path.read_text(), str(path.relative_to(ROOT))
    if not suspicious(source):
        return
    yield from of_tree(ast.parse(source), file)
    for number, line in enumerate(source.splitlines(), 1):
        if found := COMMENT.search(line):
            yield Text(file, number, found[0])


def of_page(path: Path) -> Iterator[Text]:
    """Yield the lines of a page outside of code."""
    prose = EXCERPT.sub(lambda code: "\n" * code[0].count("\n"), path.read_text())
    for number, line in enumerate(prose.splitlines(), 1):
        yield Text(str(path.relative_to(ROOT)), number, line)


def violations(texts: Iterator[Text], more: Sequence[Rule] = ()) -> Iterator[str]:
    """Return one line for each rule that a text breaks."""
    for text in texts:
        rules = [rule for rule in (*RULES, *more) if rule.pattern.search(text.words)]
        if text.is_docstring and OPENING.pattern.match(text.words):
            rules.append(OPENING)
        for rule in rules:
            yield f"{text.file}:{text.line}: {text.words.strip()[:100]!r}: {rule.reason}"


def test_all_prose_keeps_the_rules() -> None:
    """All but this file, which must name the words."""
    code = (text for path in CODE if path != Path(__file__) for text in of_code(path))
    pages = (text for path in PAGES for text in of_page(path))
    broken = sorted([*violations(code), *violations(pages, PAGE_RULES)])
    assert not broken, "\n".join(broken)


# The rules themselves


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ('"""Whether it is safe."""', "starts with a verb or a noun"),
        ('class A:\n    x: int\n    """How many."""', "starts with a verb or a noun"),
        ("# nobody waits for this", "name the party"),
        ('raise ValueError(f"{x} is of no use now")', "unusable"),
        ('raise ValueError("this is "\n    f"no answer")', "there is no"),
        ('raise ValueError("a first line\\nnobody reads")', "name the party"),
        ("def hurry() -> None: ...", "flush now"),
        ("# Whoever asks", "name the party"),
        ("# on the shelf", "log storage"),
        ("# the Letterbox is full", "dead letters"),
        ("# each lane", "cursor"),
        ("# a gap follows", "in flight"),
        ("# the gate opens", "concurrency limiter"),
        ("# said in words", "as text"),
        ("# it goes on with this", "resume"),
        ("# it takes in all", "receive"),
        ("# a thread of its own", "its own"),
        ("# that is no error", "is not a"),
        ("# it tells all", "report"),
        ("# lost for good", "technical word"),
        ("# elsewise it ends", "otherwise"),
        ("# the sink stands still", "does not deliver"),
    ],
)
def test_prose_is_found_wherever_it_stands(source: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "module.py"
    file.write_text(source)
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)

    [line] = violations(of_code(file))

    assert line.startswith("module.py:")
    assert reason in line


def test_good_english_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "module.py"
    file.write_text('"""Return the oldest pending sequence; there is no other."""\nx = 1  # sequences run without gaps\n')
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)

    assert list(violations(of_code(file))) == []
