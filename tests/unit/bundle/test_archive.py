"""A bundle's file is private, deterministic and bounded, and everything in it is masked again."""

from __future__ import annotations

import hashlib
import json
import stat
import tarfile
from pathlib import Path

import pytest

from edgerouter.bundle.archive import Part, masked, masked_json, write
from edgerouter.masking import protect

SECRET = "hunter2-hunter2-hunter2"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0BAQEFAASC\n-----END PRIVATE KEY-----"


def contents(file: Path) -> dict[str, bytes]:
    """Return the files of an archive by name."""
    with tarfile.open(file) as archive:
        found = {member.name.removeprefix("edgerouter-bundle/"): archive.extractfile(member) for member in archive}
        return {name: opened.read() for name, opened in found.items() if opened is not None}


def test_the_archive_holds_its_parts_and_a_manifest_with_digests_and_reasons(tmp_path: Path) -> None:
    file = tmp_path / "bundle.tar.gz"

    write(file, [Part("a.txt", "some text\n"), Part("b.json", missing="no router runs")])

    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    found = contents(file)
    assert set(found) == {"manifest.json", "a.txt"}
    assert json.loads(found["manifest.json"]) == {
        "parts": [
            {"name": "a.txt", "bytes": 10, "sha256": hashlib.sha256(b"some text\n").hexdigest(), "cut": False},
            {"name": "b.json", "missing": "no router runs"},
        ]
    }


def test_equal_parts_make_equal_bytes(tmp_path: Path) -> None:
    for name in ("one", "two"):
        write(tmp_path / name, [Part("a.txt", "some text\n")])

    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_a_file_or_link_that_is_there_is_not_written_through(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("kept")
    (tmp_path / "link").symlink_to(target)

    for name in ("target", "link"):
        with pytest.raises(OSError, match="exists"):
            write(tmp_path / name, [Part("a.txt", "x")])

    assert target.read_text() == "kept"


def test_of_a_long_part_the_end_is_kept(tmp_path: Path) -> None:
    lines = [f"line {number:09}" for number in range(2000)]

    [entry] = write(tmp_path / "bundle", [Part("log.txt", "\n".join(lines) + "\n")], most=10_000)

    content = contents(tmp_path / "bundle")["log.txt"].decode()
    assert entry.cut
    assert len(content) < 10_100
    assert content.endswith(lines[-1] + "\n")
    assert content.splitlines()[0] == "... the beginning is left off"
    assert content.splitlines()[1] in lines, "no line is cut"


def test_secrets_are_masked_wherever_they_stand_in_a_long_text() -> None:
    protect(SECRET)
    text = "".join(f"{'x' * 90} {number}\n" + (f"password {SECRET}\n" if number % 7 == 0 else "") for number in range(500))

    shown = masked(f"{text}{KEY}\n{text}")

    assert SECRET not in shown
    assert "MIIEvQ" not in shown
    assert shown.count("password ***") == 144
    assert len(shown.splitlines()) > 1000, "no line is left out"


def test_texts_of_a_document_are_masked_and_shown_as_text() -> None:
    protect('quoted"secret"with\\backslash')
    document = {"a\x1b[2J": ['say quoted"secret"with\\backslash', {"token": 5}], "b": "\u202ereversed"}

    shown = json.loads(masked_json(document))

    assert shown == {"a\\x1b[2J": ["say ***", {"token": 5}], "b": "\\u202ereversed"}
