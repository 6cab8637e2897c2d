"""`top` waits for a router that is about to start.

Covers also: edgerouter.admin.client.
"""

import pytest
from rich.text import Text

from edgerouter.admin.client import NoRouter
from edgerouter.cli import status


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
