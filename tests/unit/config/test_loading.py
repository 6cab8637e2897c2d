"""The configuration is loaded whole or refused with every reason at once.

Covers also: edgerouter.config.assembly, edgerouter.config.model, edgerouter.config.overlay, edgerouter.config.unlisted_stores,
edgerouter.config.validation.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from edgerouter import ConfigurationError, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.config.file_search import find_file
from support.configuration_file import GOOD, Here


def test_a_small_file_is_a_whole_configuration(here: Here) -> None:
    config = here.load(GOOD)
    assert [(source.name, source.type) for source in config.sources] == [("s", "feed")]
    assert config.sinks[0].policies.topics == ("#",)
    assert config.sinks[0].config.model_dump()["queue"] == "q"
    assert config.host
    assert config.file == Path("edgerouter.yaml")


def test_all_errors_are_reported_at_once_sorted_by_place_with_line_column_and_path(here: Here) -> None:
    text = """\
sources:
  local: {type: feed, ulr: x}
spol: {}
spool:
  max_bytes: 2GiBB
  on_full: drop_oldst
sinks:
  alerts:
    type: queu
  b:
    type: queue
    port: x
    batch: {linger: abc, max_mesages: 3}
    topics: ["a/#/b"]
    timout: 4
log: {level: debug, level: info}
"""
    assert here.problems(text, {"EDGEROUTER__SPOOL__MAX_MESAGES": "3", "EDGEROUTER__ADMIN__LISTEN": "nowhere"}) == [
        "edgerouter.yaml:2:23: sources.local.ulr: unknown key; did you mean 'url'?",
        "edgerouter.yaml:3:1: spol: unknown key; did you mean 'spool'?",
        "edgerouter.yaml:5:14: spool.max_bytes: not a byte size: '2GiBB'; write a number of bytes or for example 512KiB, 2GiB",
        "edgerouter.yaml:6:12: spool.on_full: should be 'block', 'drop_oldest' or 'drop_newest'; did you mean 'drop_oldest'?",
        "edgerouter.yaml:9:11: sinks.alerts.type: no sink 'queu' is installed; did you mean 'queue'?",
        "edgerouter.yaml:10:3: sinks.b.queue: is missing",
        "edgerouter.yaml:12:11: sinks.b.port: should be a whole number",
        (
            "edgerouter.yaml:13:21: sinks.b.batch.linger: not a duration: 'abc'; "
            "write a number of seconds or for example 200ms, 5m, 1h30m"
        ),
        "edgerouter.yaml:13:26: sinks.b.batch.max_mesages: unknown key; did you mean 'max_messages'?",
        "edgerouter.yaml:14:14: sinks.b.topics[0]: '#' must be the last level, in 'a/#/b'",
        "edgerouter.yaml:15:5: sinks.b.timout: unknown key; did you mean 'timeout'?",
        "edgerouter.yaml:16:21: log.level: is here a second time; the first is at edgerouter.yaml:16:7",
        "EDGEROUTER__ADMIN__LISTEN: admin.listen: should be HOST:PORT, for example 127.0.0.1:8080 or [::1]:8080",
        "EDGEROUTER__SPOOL__MAX_MESAGES: spool.max_mesages: unknown key; did you mean 'max_messages'?",
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "spool: {}",
            [
                "edgerouter.yaml:1:1: sinks: at least one sink is needed",
                "edgerouter.yaml:1:1: sources: at least one source is needed",
            ],
        ),
        (
            "sources:\nsinks: {}\n",
            [
                "edgerouter.yaml:1:1: sources: at least one source is needed",
                "edgerouter.yaml:2:1: sinks: at least one sink is needed",
            ],
        ),
        (GOOD + "log: 5", ["edgerouter.yaml:3:6: log: should be a mapping"]),
        (GOOD + "host: [a]", ["edgerouter.yaml:3:7: host: should be a text"]),
        (GOOD.replace("{s:", "{s:x:"), ["edgerouter.yaml:1:11: sources.s:x: a name has at most 64"]),
        (
            GOOD + "secret_stores: {env: {type: vault}}",
            ["edgerouter.yaml:3:17: secret_stores.env: ${env:...} is built in; choose another name"],
        ),
        ("sources: {s: {type: feed}}\nsinks: {k: {queue: q}}", ["edgerouter.yaml:2:9: sinks.k.type: is missing; installed: "]),
        ("sources: {s: }\nsinks: {k: {type: queue, queue: q}}", ["edgerouter.yaml:1:11: sources.s.type: is missing; installed: "]),
    ],
)
def test_what_the_whole_needs_is_reported_in_a_clear_line(here: Here, text: str, expected: list[str]) -> None:
    found = here.problems(text)
    assert len(found) == len(expected)
    assert all(line.startswith(start) for line, start in zip(found, expected, strict=True)), found


def test_sections_that_are_left_empty_have_their_defaults(here: Here) -> None:
    assert here.load(GOOD + "spool:\nlog:\n").spool.max_bytes == 1024**3


@pytest.mark.parametrize("text", ["12345", "on", "010", "12:30", "1.10", "true", "1e3"])
def test_a_text_is_kept_as_it_was_written_where_a_text_is_wanted(here: Here, text: str) -> None:
    sink = here.sink(f"queue: {text}, password: {text}, port: 7")
    assert sink.config.queue == text
    assert sink.config.password.get_secret_value() == text
    assert sink.raw["queue"] == text
    assert sink.config.port == 7


def test_a_number_that_is_not_a_number_is_reported_even_beside_texts_that_look_like_numbers(here: Here) -> None:
    assert here.sink_problems("queue: 12345, port: 1.5") == ["edgerouter.yaml:3:40: sinks.k.port: should be a whole number"]


def test_words_for_yes_are_booleans_where_a_boolean_is_wanted(here: Here) -> None:
    assert here.sink("queue: q, secure: on").config.secure is True


class TestEnvironment:
    """`EDGEROUTER__A__B=value`."""

    def test_a_whole_configuration_can_come_from_the_environment(self, here: Here) -> None:
        environ = {
            "EDGEROUTER__SOURCES__S__TYPE": "feed",
            "EDGEROUTER__SINKS__K__TYPE": "queue",
            "EDGEROUTER__SINKS__K__QUEUE": "12345",
            "EDGEROUTER__SINKS__K__TOPICS": '["a/#"]',
            "EDGEROUTER__SINKS__K__BATCH__LINGER": "200ms",
            "EDGEROUTER__SPOOL__MAX_BYTES": "2GiB",
            "edgerouter__log__LEVEL": "debug",
        }
        config = CloudBlock(environ).load(plugins)
        assert config.file is None
        assert config.sinks[0].config.model_dump()["queue"] == "12345"
        assert config.sinks[0].policies.topics == ("a/#",)
        assert config.sinks[0].policies.batch.linger == 0.2
        assert config.spool.max_bytes == 2 * 1024**3
        assert config.log.level == "debug"
        assert config.origins["spool.max_bytes"] == "EDGEROUTER__SPOOL__MAX_BYTES"

    def test_nothing_at_all_says_where_a_configuration_is_looked_for(self) -> None:
        with pytest.raises(ConfigurationError, match=r"no edgerouter\.yaml here and no /etc/edgerouter/edgerouter\.yaml"):
            CloudBlock({}).load(plugins)

    @pytest.mark.parametrize("name", ["plant-b", "plant_b", "Plant-B"])
    def test_a_variable_reaches_a_name_with_dashes_underscores_and_capitals(self, here: Here, name: str) -> None:
        config = here.load(GOOD.replace("k:", f"{name}:"), {"EDGEROUTER__SINKS__PLANT_B__REGION": "north"})
        assert [sink.name for sink in config.sinks] == [name]
        assert config.sinks[0].config.model_dump()["region"] == "north"

    def test_of_two_names_that_differ_in_dashes_only_the_exact_one_is_meant(self, here: Here) -> None:
        text = "sources: {s: {type: feed}}\nsinks: {a-b: {type: queue, queue: q}, a_b: {type: queue, queue: q}}\n"
        regions = {sink.name: sink.raw.get("region") for sink in here.load(text, {"EDGEROUTER__SINKS__A_B__REGION": "x"}).sinks}
        assert regions == {"a-b": None, "a_b": "x"}

    def test_a_mapping_is_merged_and_a_nested_variable_wins_over_it(self, here: Here) -> None:
        environ = {"EDGEROUTER__SINKS__K": '{"region": "r", "port": 5}', "EDGEROUTER__SINKS__K__PORT": "6"}
        sink = here.load(GOOD, environ).sinks[0]
        assert dict(sink.raw) == {"queue": "q", "region": "r", "port": 6}

    def test_an_empty_variable_counts_as_not_set(self, here: Here) -> None:
        assert here.load(GOOD, {"EDGEROUTER__SINKS__K__REGION": ""}).sinks[0].raw == {"queue": "q"}

    def test_a_text_with_brackets_is_a_text_where_one_is_wanted(self, here: Here) -> None:
        sink: Any = here.load(GOOD, {"EDGEROUTER__SINKS__K__PASSWORD": "{abc}"}).sinks[0].config
        assert sink.password.get_secret_value() == "{abc}"

    @pytest.mark.parametrize(
        ("environ", "expected"),
        [
            ({"EDGEROUTER__SPOOL____PATH": "x"}, "EDGEROUTER__SPOOL____PATH: an empty name between two `__`"),
            (
                {"EDGEROUTER__LOG__LEVEL": "info", "edgerouter__log__level": "info"},
                "edgerouter__log__level: is the same as EDGEROUTER__LOG__LEVEL",
            ),
            ({"EDGEROUTER__SPOOL__MAX_BYTES": "many"}, "EDGEROUTER__SPOOL__MAX_BYTES: spool.max_bytes: not a byte size: 'many'"),
            ({"EDGEROUTER__SPOL__PATH": "x"}, "EDGEROUTER__SPOL__PATH: spol: unknown key; did you mean 'spool'?"),
        ],
    )
    def test_a_wrong_variable_is_named(self, here: Here, environ: dict[str, str], expected: str) -> None:
        found = here.problems(GOOD, environ)
        assert len(found) == 1
        assert found[0].startswith(expected)


class TestDigest:
    """The digest of a sink changes when the sink does."""

    def test_it_is_the_same_for_the_same_meaning(self, here: Here) -> None:
        assert here.sink("queue: q, size: 1KiB").digest == here.sink("size: 1024, queue: 'q'").digest

    @pytest.mark.parametrize(
        "fields", ["queue: r", "queue: q, timeout: 5", "queue: q, password: y", "queue: q, topics: [a]", "queue: q, port: 2"]
    )
    def test_it_changes_with_anything(self, here: Here, fields: str) -> None:
        assert here.sink(fields).digest != here.sink("queue: q, password: x").digest

    def test_it_changes_when_the_secret_behind_a_reference_does(self, here: Here) -> None:
        fields = 'queue: q, password: "${env:P}"'
        assert here.sink(fields, {"P": "1"}).digest != here.sink(fields, {"P": "2"}).digest


def test_no_repr_shows_a_secret(here: Here) -> None:
    config = here.load(GOOD.replace("queue: q", 'queue: "${env:S}", password: hunter2-too'), {"S": "hunter2"})
    assert "hunter2" not in repr(config)


def test_the_file_is_the_option_then_the_variable_then_the_one_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("edgerouter.config.file_search.SYSTEM", tmp_path / "system.yaml")
    assert find_file(None, {}) is None
    (tmp_path / "system.yaml").touch()
    assert find_file(None, {}) == tmp_path / "system.yaml"
    (tmp_path / "edgerouter.yaml").touch()
    assert find_file(None, {}) == Path("edgerouter.yaml")
    assert find_file(None, {"EDGEROUTER_CONFIG": "/other"}) == Path("/other")
    assert find_file(Path("/mine"), {"EDGEROUTER_CONFIG": "/other"}) == Path("/mine")
