"""`check --connect` looks at the servers of the spool, says what to set, and makes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from edgerouter import plugins
from edgerouter.cli.check import check
from edgerouter.errors import SpoolUnusable
from edgerouter_nats.spool.config import JetStreamSpoolConfig
from edgerouter_nats.spool.examination import version_of
from support.nats.cluster import NatsServer
from support.nats.sharing import settings


def section(server: NatsServer, folder: Path, **more: Any) -> JetStreamSpoolConfig:
    return JetStreamSpoolConfig.model_validate(settings(server, folder, "one", **more))


def checked(folder: Path, spool: dict[str, Any]) -> int:
    """Run `check --connect` on a configuration with this spool."""
    file = folder / "edgerouter.yaml"
    source = {"type": "http", "listen": "127.0.0.1:0"}
    file.write_text(
        json.dumps({"sources": {"in": source}, "sinks": {"out": {"type": "stdout"}}, "spool": {"type": "jetstream", **spool}})
    )
    return check(plugins.load(file, {}), connect=True)


def test_a_spool_that_is_not_there_yet_is_found_well_and_stays_away(
    nats: NatsServer, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert checked(tmp_path, settings(nats, tmp_path, "one", stream="NEW")) == 0
    said = capsys.readouterr().out
    assert "spool (jetstream): ok, open after" in said
    assert "the stream NEW is made at the first start; writes to its disk before it acknowledges" in said
    streams = [each["name"] for each in nats.monitor("/jsz?streams=true")["account_details"][0].get("stream_detail", [])]
    assert not [name for name in streams if "NEW" in name]


def test_a_server_that_is_away_fails_the_check(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert checked(tmp_path, {"servers": ["nats://127.0.0.1:1"], "path": str(tmp_path / "spool")}) == 2
    assert "spool (jetstream): failed: nats://127.0.0.1:1: Connect" in capsys.readouterr().err


async def test_copies_on_a_server_that_stands_alone_are_refused_with_what_to_set(nats: NatsServer, tmp_path: Path) -> None:
    with pytest.raises(SpoolUnusable, match=r"spool\.replicas: .* stands alone, and 3 copies need a cluster .*: set `replicas: 1`"):
        await plugins.examine_spool(section(nats, tmp_path, stream="ALONE", replicas=3), "box")


async def test_bounds_that_the_account_does_not_grant_are_refused_with_what_to_set(tmp_path: Path) -> None:
    account = "accounts: { APP: { jetstream: {max_file: 100MB}, users: [{user: app, password: app}] } }"
    with NatsServer(tmp_path / "nats", [account]) as server:
        login = {"username": "app", "password": "app"}
        small = section(server, tmp_path, max_bytes="50MiB", dead_letter_bytes="10MiB", **login)
        assert "made at the first start" in await plugins.examine_spool(small, "box")
        with pytest.raises(
            SpoolUnusable, match=r"spool\.max_bytes: .* the spool may take 1120 MiB, and the account has 100 MiB left"
        ):
            await plugins.examine_spool(section(server, tmp_path, max_bytes="1GiB", **login), "box")


@pytest.mark.parametrize(("text", "version"), [("2.9.10", (2, 9)), ("2.11.0-RC.1", (2, 11)), ("", (2, 11)), ("x.y", (2, 11))])
def test_the_version_of_a_server_is_compared_by_its_numbers(text: str, version: tuple[int, int]) -> None:
    assert version_of(text) == version
