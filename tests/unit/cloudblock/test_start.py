"""Variables missing in the environment are looked up in secret stores, which may be down, slow, or in disagreement.

Covers also: edgerouter.cloudblock.store_chain, edgerouter.cloudblock.undecided, edgerouter.config.last_known,
edgerouter.config.references, edgerouter.config.store_faults.
"""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet

from edgerouter import ConfigurationError, SecretMissing, Unauthorized, Unavailable, plugins
from edgerouter.cloudblock.start import CloudBlock
from edgerouter.cloudblock.undecided import UndecidedSink
from edgerouter.config.last_known import LastKnown, open_last_known
from edgerouter.config.model import SecretsConfig
from edgerouter.config.references import resolve
from support.vaults import BOTH, ONE, decided, down, opened, refuses, silent, vaults


@pytest.fixture
def vault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The fake stores' class, with what they hold and how they fail; only the fakes declare variables."""
    with vaults(tmp_path, monkeypatch) as store:
        yield store


async def test_a_sink_is_on_with_nothing_but_secrets(vault: Any) -> None:
    vault.contents = {"first": {"queue-name": "readings", "queue-token": "geheim\n"}}
    config, reason = await decided(ONE)
    assert ([sink.name for sink in config.sinks], config.off, reason) == (["queue"], (), "")
    assert await opened(config) == [("READINGS", "geheim")]
    assert config.origins["sinks.queue.token"] == "secret queue-token of first"


async def test_a_variable_wins_over_a_secret(vault: Any) -> None:
    vault.contents = {"first": {"queue-name": "from-store", "queue-token": "geheim"}}
    config, _ = await decided({**ONE, "QUEUE_NAME": "from-variable"})
    assert await opened(config) == [("FROM-VARIABLE", "geheim")]
    assert ("first", "queue-name") not in vault.asked[-1:]


async def test_an_older_name_is_looked_up_too(vault: Any) -> None:
    vault.contents = {"first": {"old-queue": "readings", "queue-token": "geheim"}}
    config, _ = await decided(ONE)
    assert await opened(config) == [("READINGS", "geheim")]


async def test_what_is_not_required_is_looked_up_too_and_not_waited_for(vault: Any) -> None:
    vault.contents = {"first": {"queue-name": "readings", "queue-token": "geheim", "queue-group": "edge"}}
    config, reason = await decided(ONE)
    resolved: Any = await resolve(config.sinks[0], config.secret_stores)
    assert (resolved.group, reason) == ("edge", "")
    del vault.contents["first"]["queue-group"]
    cloud = CloudBlock(ONE, {"queue-name": "queue-name", "queue-token": "queue-token", "other-name": None})
    config = cloud.load(plugins)
    (sink,) = config.sinks
    resolved = await resolve(sink, config.secret_stores)
    assert resolved.group == "none"
    assert "queue-group" in cloud.lookups


async def test_a_secret_shared_by_several_sinks_serves_those_that_are_wanted(vault: Any) -> None:
    vault.contents = {"first": {"queue-name": "readings", "any-token": "geheim"}}
    config, _ = await decided(ONE)
    assert ([sink.name for sink in config.sinks], config.off) == (["queue"], ())
    assert await opened(config) == [("READINGS", "geheim")]


async def test_the_first_store_that_has_a_secret_gives_it(vault: Any) -> None:
    vault.contents = {"first": {"queue-token": "1"}, "second": {"queue-token": "2", "queue-name": "q"}}
    config, _ = await decided(BOTH)
    assert await opened(config) == [("Q", "1")]
    config, _ = await decided({**BOTH, "EDGEROUTER_SECRET_STORE_ORDER": "second,first"})
    assert await opened(config) == [("Q", "2")]


async def test_a_store_that_is_down_hides_nothing_that_another_has(vault: Any) -> None:
    vault.contents = {"second": {"queue-token": "2", "queue-name": "q"}}
    vault.faults = {"first": down}
    config, reason = await decided(BOTH)
    assert [(sink.name, sink.plugin is UndecidedSink) for sink in config.sinks] == [("queue", False), ("other", True)]
    assert reason == "connection refused"
    resolved: Any = await resolve(config.sinks[0], config.secret_stores)
    assert (resolved.queue, resolved.token.get_secret_value()) == ("Q", "2")


async def test_a_store_that_does_not_answer_is_asked_once_and_not_for_every_variable(
    vault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("edgerouter.cloudblock.store_chain.ANSWER_SECONDS", 0.05)
    vault.faults = {"first": silent}
    vault.asked.clear()
    config, reason = await decided(ONE)
    assert reason == "secret store first: no answer in 0.05 s"
    assert len(vault.asked) == 1
    assert [sink.plugin for sink in config.sinks] == [UndecidedSink, UndecidedSink]


async def test_a_slow_store_is_asked_for_several_secrets_at_once_when_it_has_shown_that_it_answers(vault: Any) -> None:
    """There are dozens of names to ask for, and a satellite link takes half a second for each."""
    under_way, at_once = 0, []

    async def slow(name: str) -> None:
        nonlocal under_way
        under_way += 1
        at_once.append(under_way)
        await asyncio.sleep(0.01)
        under_way -= 1

    vault.contents, vault.faults = {"first": {"queue-token": "t", "queue-name": "q"}}, {"first": slow}
    config, _ = await decided(ONE)
    assert [sink.name for sink in config.sinks] == ["queue"]
    assert at_once[:2] == [1, 1]
    assert 1 < max(at_once) <= 8


async def test_a_part_of_a_sink_in_the_store_is_reported_with_what_is_missing(vault: Any) -> None:
    vault.contents = {"first": {"queue-token": "geheim", "other-name": "o", "other-token": "t"}}
    config, _ = await decided(ONE)
    assert config.off == (
        "sink queue is off: secret queue-token is set, QUEUE_NAME is missing (also as secrets queue-name in first)",
    )
    assert [sink.name for sink in config.sinks] == ["other"]


async def test_a_store_that_refuses_names_it_does_not_show_counts_as_not_having_them(vault: Any) -> None:
    """A policy for some secrets only answers 403 for all others, whether or not they are there."""

    async def only_the_queues(name: str) -> None:
        if not name.startswith("queue"):
            raise Unauthorized("403")

    vault.contents, vault.faults = {"first": {"queue-token": "t", "queue-name": "q"}}, {"first": only_the_queues}
    config, reason = await decided(ONE)
    assert ([sink.name for sink in config.sinks], config.off, reason) == (["queue"], (), "")


async def test_an_error_that_a_store_should_not_raise_counts_as_down_and_shows_nothing_of_its_text(vault: Any) -> None:
    """Behind a captive portal or a proxy a store's client raises anything, with anything in it."""

    async def raises(name: str) -> None:
        raise KeyError("geheim")

    vault.contents, vault.faults = {"second": {"queue-token": "2", "queue-name": "q"}}, {"first": raises}
    config, reason = await decided(BOTH)
    assert [sink.plugin is UndecidedSink for sink in config.sinks] == [False, True]
    assert reason == "secret store first: failed with KeyError, which it should not raise"
    resolved: Any = await resolve(config.sinks[0], config.secret_stores)
    assert resolved.token.get_secret_value() == "2"
    vault.faults["second"] = raises
    with pytest.raises(Unavailable, match="KeyError") as caught:
        await resolve(config.sinks[0], config.secret_stores)
    assert "geheim" not in "".join(traceback.format_exception(caught.value))


async def test_a_store_that_does_not_let_us_in_decides_nothing(vault: Any) -> None:
    vault.faults = {"first": refuses}
    config, reason = await decided(ONE)
    assert ([sink.plugin for sink in config.sinks], reason) == ([UndecidedSink, UndecidedSink], "403")


async def test_stores_that_were_down_are_asked_until_they_answer_and_each_answer_reloads(
    vault: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A stand-in keeps the messages of each sink until then, and the spool forgets those of the sinks that are off."""
    monkeypatch.setattr("edgerouter.cloudblock.start.FIRST_DELAY", 0.01)
    vault.contents, vault.faults = {"first": {"queue-token": "t", "queue-name": "q"}}, {"first": down}
    cloud = CloudBlock(ONE)
    assert [(sink.name, sink.type, sink.provisional) for sink in cloud.load(plugins).sinks] == [
        ("queue", "queue", True),
        ("other", "other", True),
    ]
    assert cloud.undecided
    reloads: list[list[tuple[str, bool]]] = []

    def reload() -> None:
        reloads.append([(sink.name, sink.provisional) for sink in cloud.load(plugins).sinks])

    asking = asyncio.create_task(cloud.keep_asking(LastKnown(), reload))
    while not vault.asked:
        await asyncio.sleep(0.001)
    assert reloads == []
    vault.faults = {}
    await asyncio.wait_for(asking, 30)
    assert reloads == [[("queue", False)]]
    assert not cloud.undecided


async def test_a_value_that_cannot_be_is_reported_without_being_shown(vault: Any) -> None:
    vault.contents = {"first": {"queue-token": "t", "queue-name": "bad"}}
    config = CloudBlock(ONE, {"queue-token": "queue-token", "queue-name": "queue-name", "other-name": None}).load(plugins)
    with pytest.raises(Unauthorized, match="secret queue-name of first: should not be bad"):
        await opened(config)


async def test_a_rotated_secret_is_read_when_the_sink_opens_again(vault: Any) -> None:
    vault.contents = {"first": {"queue-token": "old", "queue-name": "q"}}
    config, _ = await decided(ONE)
    assert await opened(config) == [("Q", "old")]
    vault.contents["first"]["queue-token"] = "new"
    assert await opened(config) == [("Q", "new")]


class TestLastKnown:
    """`secrets.last_known`."""

    def kept(self, folder: Path, key: bytes) -> LastKnown:
        return open_last_known(SecretsConfig.model_validate({"last_known": "disk", "key": key.decode()}), folder)

    async def test_the_last_value_counts_while_the_store_is_down(self, vault: Any) -> None:
        vault.contents = {"first": {"queue-token": "geheim", "queue-name": "q"}}
        last_known = LastKnown()
        config, _ = await decided(ONE, last_known)
        await opened(config, last_known)
        vault.faults = {"first": down}
        assert await opened(config, last_known) == [("Q", "geheim")]
        with pytest.raises(Unavailable, match="connection refused"):
            await opened(config, LastKnown())

    async def test_a_box_that_boots_offline_starts_with_what_is_on_disk(self, vault: Any, tmp_path: Path) -> None:
        key = Fernet.generate_key()
        vault.contents = {"first": {"queue-token": "geheim", "queue-name": "q"}}
        config, _ = await decided(ONE, self.kept(tmp_path, key))
        vault.faults = {"first": down}
        after_boot = self.kept(tmp_path, key)
        config, reason = await decided(ONE, after_boot)
        assert ([sink.name for sink in config.sinks], reason) == (["queue"], "")
        assert await opened(config, after_boot) == [("Q", "geheim")]
        file = tmp_path / "last-known-secrets"
        assert b"geheim" not in file.read_bytes()
        assert file.stat().st_mode & 0o077 == 0

    async def test_another_key_or_a_damaged_file_costs_only_what_was_kept(self, vault: Any, tmp_path: Path) -> None:
        vault.contents = {"first": {"queue-token": "geheim", "queue-name": "q"}}
        await decided(ONE, self.kept(tmp_path, Fernet.generate_key()))
        other = self.kept(tmp_path, Fernet.generate_key())
        assert other.known() == {}
        await decided(ONE, other)
        assert other.known()["queue-token"] == "queue-token"

    @pytest.mark.parametrize("section", [{"key": "short"}, {"key_file": "/nowhere/key"}])
    def test_a_key_that_cannot_be_used_is_reported(self, section: dict[str, str], tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match=r"secrets\.key"):
            open_last_known(SecretsConfig.model_validate({"last_known": "disk", **section}), tmp_path)

    async def test_a_disk_that_takes_nothing_stops_nothing(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        last_known = LastKnown(tmp_path / "file" / "x", Fernet(Fernet.generate_key()))
        last_known.keep("store", "name", "value")
        assert last_known.value("store", "name") == "value"


def test_a_missing_secret_is_a_sink_unauthorized() -> None:
    """So that stores and the router need not know of each other's age."""
    assert issubclass(SecretMissing, Unauthorized)
