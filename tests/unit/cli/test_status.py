"""`top` waits for a router that is about to start.

Covers also: edgerouter.admin.client.
"""

from pathlib import Path
from typing import Any

import pytest
from rich.text import Text

from edgerouter.admin.client import Client, NoRouter
from edgerouter.cli import status


class Starting(Client):
    """A client of a router that runs from the third question on."""

    def __init__(self) -> None:
        super().__init__(Path("folder"))
        self.asked = 0

    def get(self, path: str) -> dict[str, Any]:
        self.asked += 1
        if self.asked < 3:
            raise NoRouter("no router runs on folder")
        return {}


def test_top_waits_for_a_router(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(status, "render", lambda *_: Text("the router is here"))
    status.watch(Starting(), 0.01, 1.0)
    assert "the router is here" in capsys.readouterr().out


def test_top_says_so_if_no_router_came_in_time() -> None:
    client = Starting()
    client.asked = -1_000_000
    with pytest.raises(NoRouter):
        status.watch(client, 0.01, 0.1)
