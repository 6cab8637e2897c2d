"""An operation on a spool says why it did nothing."""

from pathlib import Path

from edgerouter.cli.spool import why_nothing_is_replayed
from edgerouter.config.model import RetainPolicy, SpoolConfig


def test_a_replay_of_nothing_says_why(tmp_path: Path) -> None:
    without = SpoolConfig(path=tmp_path)
    assert "`spool.retain` is not set" in why_nothing_is_replayed(without, known=True)
    assert "not set" not in why_nothing_is_replayed(without, known=False), "a folder alone does not show it"
    assert "none that match" in why_nothing_is_replayed(without.model_copy(update={"retain": RetainPolicy(age=60)}), known=True)
