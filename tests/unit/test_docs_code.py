"""Every block of code in the pages is valid: files parse, commands and options exist, lines of the log are those of the code.

Covers: docs.
"""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from edgerouter import plugins
from edgerouter.testing import SinkConformance  # noqa: F401  (sets up the assertions of its modules before one is imported)
from support.certificates import Authority
from support.pages import CODE, DOCS, PAGES, ROOT, blocks, commands

OPTIONS = dict(commands())
SOURCES = [*(ROOT / "src").rglob("*.py"), *ROOT.glob("plugins/*/src/**/*.py")]
NAMED_FILES = re.compile(r"(?<=: )/\S*\.(key|pem|crt)$", re.MULTILINE)
SOURCE = "sources: {local: {type: mqtt, url: mqtt://localhost, topics: ['#']}}"
KEY = "HostName=plant.azure-devices.net;DeviceId=edge-1;SharedAccessKey=c2VjcmV0"


def ids(page: Path) -> str:
    return str(page.relative_to(ROOT))


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_blocks_of_json_toml_and_yaml_parse(page: Path) -> None:
    for text in blocks(page, "json"):
        json.loads(text)
    for text in blocks(page, "toml"):
        tomllib.loads(text)
    for text in [*blocks(page, "yaml"), *blocks(page, "yml")]:
        list(yaml.safe_load_all(text))


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "sh")], ids=ids)
def test_blocks_of_the_shell_parse(page: Path) -> None:
    script = "\n".join(re.sub(r"<[\w ]+>", "x", text) for text in blocks(page, "sh"))
    checked = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, check=False)
    assert checked.returncode == 0, checked.stderr


def named(text: str) -> tuple[str, list[str]] | None:
    """Return the command that a line of the shell calls edgerouter with, and the words behind it."""
    words = shlex.split(text, comments=True)
    for length in (2, 1):
        command = " ".join(words[:length])
        if command in OPTIONS:
            return command, words[length:]
    return None


@pytest.mark.parametrize("page", PAGES, ids=ids)
def test_options_that_the_pages_give_a_command_exist(page: Path) -> None:
    for code in CODE.findall(page.read_text()):
        for call in re.findall(r"(?:^`?|[$|;&`] |\()edgerouter ([a-z][^\n|;&`#)]*)", code, re.MULTILINE):
            try:
                found = named(call.rstrip("\\ "))
            except ValueError:  # a quotation that ends on another line
                continue
            for word in found[1] if found else []:
                if word == "--":
                    break
                option = word.partition("=")[0]
                if found and re.match(r"-{1,2}[a-z]", option) and option != "--help":
                    assert option in OPTIONS[found[0]], f"edgerouter {found[0]} has no option {option}"


@pytest.mark.parametrize("name", ["coming-from-greengrass.md", "coming-from-synpse.md"])
def test_configurations_that_name_certificates_are_valid_where_these_are(name: str, tmp_path: Path) -> None:
    """They are marked `yml`, because a test does not have the files at the places that the page shows."""
    issued = Authority(tmp_path).issue("edge-1")
    shown = [block for block in blocks(DOCS / "how-to" / name, "yml") if re.search(r"^sinks:", block, re.MULTILINE)]
    assert shown
    for number, block in enumerate(shown):
        text = NAMED_FILES.sub(lambda at: str(issued.key if at[1] == "key" else issued.certificate), block)
        text = re.sub(r"\$\{env:[^}]*\}", KEY, text)
        file = tmp_path / f"{number}.yaml"
        file.write_text(text if "sources:" in text else f"{text}\n{SOURCE}\n")
        plugins.load(file, {})


def test_every_line_of_the_troubleshooting_page_is_one_that_the_code_writes() -> None:
    code = re.sub(r'"\s*\n\s*f?"', "", "\n".join(file.read_text() for file in SOURCES))
    lines = re.findall(r"^\| (`{1,2}) ?(.*?) ?\1 \|", (DOCS / "how-to/troubleshoot.md").read_text(), re.MULTILINE)
    assert len(lines) > 40
    assert [line for _, line in lines if line not in code] == []


def test_every_variable_of_ours_is_documented() -> None:
    page = (DOCS / "reference/environment.md").read_text()
    read = {name for file in SOURCES for name in re.findall(r'"(EDGEROUTER_(?!_)[A-Z]+(?:_[A-Z]+)*)"', file.read_text())}
    assert len(read) > 4
    assert {name for name in read if f"`{name}`" not in page} == set()
