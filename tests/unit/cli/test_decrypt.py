"""`edgerouter decrypt` reads what the step `encrypt` made.

Covers: edgerouter.cli.decrypt.
"""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from edgerouter.cli.decrypt import decrypt
from edgerouter.errors import ConfigurationError
from edgerouter.objects import encode
from support.steps import chain, message

KEY = base64.b64encode(bytes(range(32))).decode()
PAYLOADS = [b'{"t":21.5}', b"text", b"\xff\x00"]


def written(path: Path, **config: Any) -> Path:
    """Write a file as the sink `file` does, of encrypted messages."""
    steps = chain({"type": "encrypt", "key": KEY, **config})
    found = steps.apply([message(payload, number) for number, payload in enumerate(PAYLOADS, 1)])
    path.write_bytes(encode([item.message for item in found.items], "jsonl"))
    return path


@pytest.fixture
def key_file(tmp_path: Path) -> Path:
    path = tmp_path / "key"
    path.write_text(KEY + "\n")
    return path


@pytest.mark.parametrize("form", ["jwe", "binary"])
def test_json_lines_of_the_file_sink_are_read(form: str, tmp_path: Path, key_file: Path, capfdbinary: Any) -> None:
    file = written(tmp_path / "out.jsonl", format=form)
    assert decrypt(file, [key_file], raw=False, as_json=False) == 0
    assert capfdbinary.readouterr().out == b"".join(payload + b"\n" for payload in PAYLOADS)
    assert decrypt(file, [key_file], raw=False, as_json=True) == 0
    lines = [json.loads(line) for line in capfdbinary.readouterr().out.splitlines()]
    assert [line["payload"] for line in lines] == [{"t": 21.5}, "text", {"base64": "/wA="}]
    assert [line["id"] for line in lines] == ["spool-1", "spool-2", "spool-3"]


def test_the_key_that_fits_is_found_among_several_and_edgex_is_read(tmp_path: Path, key_file: Path, capfdbinary: Any) -> None:
    edgex = tmp_path / "edgex"
    edgex.write_text(bytes(range(64)).hex())
    file = written(tmp_path / "out.jsonl", format="edgex", key=bytes(range(64)).hex())
    assert decrypt(file, [key_file, edgex], raw=False, as_json=False) == 0
    assert capfdbinary.readouterr().out.startswith(PAYLOADS[0])


def test_a_raw_payload_is_printed_byte_for_byte(tmp_path: Path, key_file: Path, capfdbinary: Any) -> None:
    (item,) = chain({"type": "encrypt", "key": KEY, "format": "binary"}).apply([message(b"\xff\n")]).items
    file = tmp_path / "payload"
    file.write_bytes(item.message.payload)
    assert decrypt(file, [key_file], raw=True, as_json=False) == 0
    assert capfdbinary.readouterr().out == b"\xff\n"


def test_lines_that_cannot_be_read_are_named_and_the_others_printed(tmp_path: Path, key_file: Path, capfdbinary: Any) -> None:
    file = written(tmp_path / "out.jsonl")
    good = file.read_bytes().splitlines()
    bad = [b"{", b'{"payload": 1}', b"[" * 100_000, b"text", b'{"payload": "a..b.c.d"}', b'{"payload": {"base64": "x"}}']
    file.write_bytes(b"\n".join([good[0], *bad, good[1]]))
    assert decrypt(file, [key_file], raw=False, as_json=False) == 1
    printed = capfdbinary.readouterr()
    assert printed.out == b"".join(payload + b"\n" for payload in PAYLOADS[:2])
    assert [line.partition(":")[0] for line in printed.err.decode().splitlines()] == [f"line {number}" for number in range(2, 8)]


def test_another_key_is_refused_with_the_name_of_the_right_one(tmp_path: Path, key_file: Path, capfdbinary: Any) -> None:
    file = written(tmp_path / "out.jsonl", key_id="plant-7")
    key_file.write_text(base64.b64encode(bytes(32)).decode())
    assert decrypt(file, [key_file], raw=False, as_json=False) == 1
    assert b"sealed with the key 'plant-7'" in capfdbinary.readouterr().err


def test_a_key_or_file_that_cannot_be_read_is_named(tmp_path: Path, key_file: Path) -> None:
    with pytest.raises(ConfigurationError, match="no-such: No such file"):
        decrypt(tmp_path / "no-such", [key_file], raw=False, as_json=False)
    key_file.write_text(KEY[:20])
    with pytest.raises(ConfigurationError, match="not a key") as caught:
        decrypt(None, [key_file], raw=False, as_json=False)
    assert KEY[:20] not in str(caught.value)
