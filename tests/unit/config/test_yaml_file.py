"""YAML is read as users mean it, and every value knows its place.

Covers also: edgerouter.config.tree.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgerouter import ConfigurationError
from edgerouter.config.yaml_file import parse, parse_value, read


def values(text: str) -> Any:
    node, faults = parse(text, "f.yaml")
    assert faults == []
    return node.plain()


def error(text: str) -> str:
    with pytest.raises(ConfigurationError) as caught:
        parse(text, "f.yaml")
    assert len(caught.value.problems) == 1
    return caught.value.problems[0]


@pytest.mark.parametrize(
    "text",
    [
        "on",
        "off",
        "yes",
        "no",
        "y",
        "n",
        "Yes",
        "010",
        "0o10",
        "0x1F",
        "1_000",
        "12:30",
        "12:30:45",
        "2026-11-20",
        ".inf",
        ".nan",
        "1e999",
        "+",
        ".",
    ],
)
def test_the_oddities_of_yaml_1_1_are_texts(text: str) -> None:
    assert values(f"a: {text}") == {"a": text}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("true", True),
        ("False", False),
        ("1", 1),
        ("-5", -5),
        ("0", 0),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("~", None),
        ("", None),
        ("null", None),
    ],
)
def test_plain_numbers_booleans_and_null_are_what_they_look_like(text: str, value: Any) -> None:
    assert values(f"a: {text}") == {"a": value}


def test_quotes_make_a_text_of_anything() -> None:
    assert values("a: 'true'\nb: \"1\"\nc: |\n  5\n") == {"a": "true", "b": "1", "c": "5\n"}


def test_keys_are_texts_whatever_they_look_like() -> None:
    assert values("on: 1\n1: 2\ntrue: 3") == {"on": 1, "1": 2, "true": 3}


def test_every_value_and_key_knows_its_line_and_column() -> None:
    node, _ = parse("sinks:\n  a: {type: file, topics: [x, y]}\n", "f.yaml")
    places = {place: (inner.key.label if inner.key else None, inner.origin.label) for place, inner in node.walk()}
    assert places["sinks",] == ("f.yaml:1:1", "f.yaml:2:3")
    assert places["sinks", "a", "type"] == ("f.yaml:2:7", "f.yaml:2:13")
    assert places["sinks", "a", "topics", 1] == (None, "f.yaml:2:31")


def test_a_pair_of_escapes_as_json_writes_an_emoji_is_one_character_and_half_a_pair_is_reported() -> None:
    node = parse_value(json.dumps({"\U0001f600": ["\U0001f4a1 on"]}), "VARIABLE")
    assert node.plain() == {"\U0001f600": ["\U0001f4a1 on"]}
    _, faults = parse('a: "\\ud83d alone"\n', "x.yaml")
    assert [(origin.label, reason) for origin, reason in faults] == [("x.yaml:1:4", "half a surrogate pair is not a character")]


@pytest.mark.parametrize("depth", [100, 400, 5000])
def test_what_is_nested_too_deeply_is_reported_at_its_place(depth: int) -> None:
    try:
        _, faults = parse("a: " + "[" * depth + "]" * depth, "f.yaml")
        told = [f"{origin.label}: {reason}" for origin, reason in faults]
    except ConfigurationError as error:
        told = list(error.problems)
    assert len(told) == 1
    assert re.fullmatch(r"f\.yaml:1:[0-9]+: nested too deeply", told[0])


def test_anchors_and_merge_keys_work() -> None:
    text = "a: &a {x: 1, y: 2}\nb: {<<: *a, y: 3}\nc: *a\nd: {<<: [{x: 9}, *a]}\n"
    assert values(text) == {"a": {"x": 1, "y": 2}, "b": {"x": 1, "y": 3}, "c": {"x": 1, "y": 2}, "d": {"x": 9, "y": 2}}


def test_a_duplicate_key_is_reported_with_both_places() -> None:
    _, faults = parse("log:\n  level: debug\n  level: info\n", "f.yaml")
    assert [(origin.label, text) for origin, text in faults] == [
        ("f.yaml:3:3", "log.level: is here a second time; the first is at f.yaml:2:3")
    ]


@pytest.mark.parametrize("text", ["a: &a [*a]", "a: !!python/object:os.system x", "? [1]\n: 2", "a: {<<: 5}", "a: !mine 3"])
def test_what_is_not_plain_data_is_reported_at_its_place(text: str) -> None:
    _, faults = parse(text, "f.yaml")
    assert [origin.line for origin, _ in faults] == [1]


def test_an_alias_bomb_ends_in_a_line_instead_of_the_memory() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [" + ", ".join([f"*a{n - 1}"] * 9) + "]" for n in range(1, 9)]
    _, faults = parse("\n".join(lines), "f.yaml")
    assert [reason for _, reason in faults] == ["more than 100000 values, most of them by aliases"]


def test_an_alias_that_leads_back_to_itself_is_reported() -> None:
    _, faults = parse("a: &a [*a]", "f.yaml")
    assert [reason for _, reason in faults] == ["an alias that leads back to itself"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: 'x\nb: 1\nc: 2\n", "begun in line 1"),
        ("a:\n  b: 1\n c: 2\n", "indented as its neighbours are, begun in line 1?"),
        ("a: 1\n---\nb: 2\n", "a second document begins here"),
    ],
)
def test_an_error_of_syntax_says_where_to_look(text: str, said: str) -> None:
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        parse(text, "f.yaml")


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("a: b: c", "f.yaml:1:5: not YAML: "),
        ("a: [1, 2", "f.yaml:1:9: not YAML: "),
        ("a:\n\tb: 1", "f.yaml:2:1: not YAML: a tab; indent with spaces"),
        ("a: 1\n---\nb: 2", "f.yaml:2:1: not YAML: "),
        ("", "f.yaml:1:1: is empty"),
        ("# nothing\n", "f.yaml:1:1: is empty"),
        ("- a\n", "f.yaml:1:1: the file should be a mapping"),
        ("just words", "f.yaml:1:1: the file should be a mapping"),
        ("a: \x01", "f.yaml:1:4: a character that YAML does not allow"),
        ("[" * 5000, "f.yaml:1:"),
    ],
)
def test_what_is_not_yaml_is_one_line_with_its_place(text: str, start: str) -> None:
    assert error(text).startswith(start)


def test_a_file_that_cannot_be_read_is_one_line(tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"a: 1\nb: caf\xe9\n")
    for path, reason in ((tmp_path / "missing.yaml", "No such file"), (tmp_path, "Is a directory"), (latin, "not UTF-8")):
        with pytest.raises(ConfigurationError, match=reason) as caught:
            read(path)
        assert len(caught.value.problems) == 1
        assert caught.value.problems[0].startswith(str(path))
    with pytest.raises(ConfigurationError, match=r"latin\.yaml:2:7: "):
        read(latin)


def test_a_byte_order_mark_does_not_belong_to_the_first_key(tmp_path: Path) -> None:
    path = tmp_path / "bom.yaml"
    path.write_bytes(b"\xef\xbb\xbfa: 1\n")
    assert read(path)[0].plain() == {"a": 1}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("5", 5),
        ("true", True),
        ("on", "on"),
        ("#", "#"),
        ("a: b", "a: b"),
        ("  padded ", "  padded "),
        ('["a/#", "b"]', ["a/#", "b"]),
        ('{"a": {"b": 1}}', {"a": {"b": 1}}),
        ('"5"', "5"),
        ("'x'", "x"),
        ('"', '"'),
        ("[not a list", "[not a list"),
        ("{{nor: this}", "{{nor: this}"),
    ],
)
def test_a_variable_is_a_scalar_as_it_stands_or_json(text: str, value: Any) -> None:
    assert parse_value(text, "V").plain() == value


@given(st.text(max_size=30))
def test_no_text_of_a_variable_breaks_the_parser(text: str) -> None:
    node = parse_value(text, "V")
    assert node.origin.label == "V"
