"""The systemd unit is valid, hardened, and agrees with the router: its exit codes, its times and its folders.

Covers: deploy/systemd, docs/how-to/run-with-systemd.md.
"""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from edgerouter.config.assembly import SYSTEM
from edgerouter.config.model import ShutdownConfig, SpoolConfig
from edgerouter.telemetry.service_manager import START_SECONDS

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/systemd"
UNIT = FOLDER / "edgerouter.service"
PAGE = (ROOT / "docs/how-to/run-with-systemd.md").read_text()
MOST_EXPOSURE = 2.0

needs_systemd = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")


def settings(name: str) -> list[str]:
    """Return the values of a setting, in the order of the file."""
    return re.findall(rf"(?m)^{name}=(.*)$", UNIT.read_text())


def setting(name: str) -> str:
    (value,) = settings(name)
    return value


def analyze(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = ["systemd-analyze", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@needs_systemd
def test_systemd_finds_no_fault_in_the_unit(tmp_path: Path) -> None:
    """The program stands in for the installed one, whose absence would be a fault."""
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/usr/bin/edgerouter", shutil.which("true") or "/bin/true"))
    verified = analyze("verify", "--man=no", unit)
    assert (verified.returncode, verified.stdout + verified.stderr) == (0, "")


@needs_systemd
def test_the_unit_leaves_a_broken_into_router_little_to_reach() -> None:
    rated = analyze("security", "--offline=true", "--no-pager", UNIT)
    found = re.search(r"Overall exposure level for edgerouter\.service: ([0-9.]+)", rated.stdout)
    assert found is not None, rated.stdout + rated.stderr
    assert float(found[1]) < MOST_EXPOSURE


def test_a_fault_that_only_the_operator_can_correct_ends_the_restarts() -> None:
    """A stop and a drain exit with 0; the router must not come back after either."""
    assert setting("RestartPreventExitStatus") == "2"
    assert setting("Restart") == "on-failure"
    assert setting("StartLimitIntervalSec") == "0"


def test_systemd_waits_longer_than_the_router_delivers_at_a_stop() -> None:
    assert float(setting("TimeoutStopSec")) > ShutdownConfig().grace
    # systemd's default time to start is 90 s; the router extends it while it repairs a spool
    assert START_SECONDS < 90


def test_the_unit_reads_the_systems_configuration_and_owns_the_default_spool() -> None:
    assert setting("ExecStart") == f"/usr/bin/edgerouter run -c {SYSTEM}"
    spool = Path("/var/lib") / setting("StateDirectory")
    assert spool == SpoolConfig().path
    assert setting("WorkingDirectory") == str(spool)


def test_the_user_and_the_folders_of_the_unit_are_created() -> None:
    assert f"u {setting('User')} " in (FOLDER / "edgerouter.sysusers").read_text()
    lines = [line.split() for line in (FOLDER / "edgerouter.tmpfiles").read_text().splitlines() if not line.startswith("#")]
    folders = {path: (mode, owner) for _, path, mode, owner, *_ in lines}
    secrets = setting("LoadCredential").partition(":")[2]
    assert folders == {
        str(SYSTEM.parent): ("0755", "root"),
        secrets: ("0700", "root"),
        str(SpoolConfig().path): (setting("StateDirectoryMode"), setting("User")),
    }


def test_the_page_names_the_secrets_as_systemd_passes_them() -> None:
    name = setting("LoadCredential").partition(":")[0]
    references = re.findall(r"\$\{file:(/run/credentials/[^}]*)\}", PAGE)
    assert references
    assert all(reference.startswith(f"/run/credentials/{UNIT.name}/{name}_") for reference in references)
