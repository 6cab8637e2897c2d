"""`check --connect` looks at a real broker and leaves nothing behind."""

import subprocess
import sys

import yaml

from support.mosquitto import running


def check(file):
    """Run the command; returns exit code and output."""
    ended = subprocess.run(
        [sys.executable, "-m", "edgerouter.cli.main", "check", "--connect", "-c", file],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def test_a_check_with_connect_leaves_no_session_and_disturbs_no_running_router(tmp_path):
    with running(tmp_path / "broker") as broker:
        file = tmp_path / "edgerouter.yaml"
        config = {
            "sources": {"local": {"type": "mqtt", "url": broker.url, "topics": ["a/#"], "client_id": "router"}},
            "spool": {"path": str(tmp_path / "spool")},
            "sinks": {"files": {"type": "file", "path": str(tmp_path / "files")}},
        }
        file.write_text(yaml.safe_dump(config))
        code, said = check(file)
        assert code == 0, said
        log = broker.log
    assert "router-check" in log
    assert " as router (" not in log, "the router's own client id was not used"
    assert "a/#" not in log, "nothing was subscribed"
    assert "c1" in log, "a clean session"
