"""Output for people reads well, and is whole in a pipe."""

import pytest
from rich.table import Table
from rich.text import Text

from edgerouter.admin.client import NoRouter
from edgerouter.cli import status
from edgerouter.cli.output import console, counted
from edgerouter.cli.spool import why_nothing_is_replayed
from edgerouter.config.model import RetainPolicy, SpoolConfig


def test_one_is_not_plural():
    assert [counted(number, "dead letter") for number in (0, 1, 2)] == ["0 dead letters", "1 dead letter", "2 dead letters"]


def test_a_table_is_not_cut_in_a_pipe(capsys, monkeypatch):
    """Rich takes a pipe for 80 columns wide, and `grep` found only the beginning of a topic."""
    monkeypatch.delenv("COLUMNS", raising=False)
    table = Table("topic", "reason", box=None)
    table.add_row("plant/" * 20 + "end", "because " * 10)
    console().print(table)
    assert "plant/" * 20 + "end" in capsys.readouterr().out


def test_a_replay_of_nothing_says_why(tmp_path):
    without = SpoolConfig(path=tmp_path)
    assert "`spool.retain` is not set" in why_nothing_is_replayed(without, known=True)
    assert "not set" not in why_nothing_is_replayed(without, known=False), "a folder alone does not tell"
    assert "none that match" in why_nothing_is_replayed(without.model_copy(update={"retain": RetainPolicy(age=60)}), known=True)


class Starting:
    """A client of a router that runs from the third question on."""

    def __init__(self):
        self.asked = 0

    def get(self, _path):
        self.asked += 1
        if self.asked < 3:
            raise NoRouter("no router runs on folder")
        return {}


def test_top_waits_for_a_router(monkeypatch, capsys):
    monkeypatch.setattr(status, "render", lambda *_: Text("the router is here"))
    status.watch(Starting(), 0.01, 1.0)
    assert "the router is here" in capsys.readouterr().out


def test_top_says_so_if_no_router_came_in_time():
    client = Starting()
    client.asked = -1_000_000
    with pytest.raises(NoRouter):
        status.watch(client, 0.01, 0.1)
