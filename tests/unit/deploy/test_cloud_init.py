"""The user data of cloud-init make a box whose broker, package and configuration fit together.

Covers: deploy/cloud-init, docs/how-to/provision-a-box.md.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from edgerouter import plugins
from edgerouter.config.loading import load

ROOT = Path(__file__).resolve().parents[3]
FILE = ROOT / "deploy/cloud-init/user-data"
CLOUD_INIT = shutil.which("cloud-init", path=f"{ROOT / '.tools'}:{os.environ['PATH']}")
DATA: dict[str, Any] = yaml.safe_load(FILE.read_text())
FILES: dict[str, str] = {each["path"]: each["content"] for each in DATA["write_files"]}
COMMANDS = [command if isinstance(command, str) else " ".join(command) for command in DATA["runcmd"]]


@pytest.mark.skipif(CLOUD_INIT is None, reason="cloud-init is not installed; unpack it with: .ci/install-debian-tools")
def test_cloud_init_takes_them() -> None:
    command = [str(CLOUD_INIT), "schema", "--config-file", str(FILE)]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert (checked.returncode, checked.stderr) == (0, "")


def test_cloud_init_recognises_them_by_their_first_line() -> None:
    assert FILE.read_text().startswith("#cloud-config\n")


def test_the_configuration_on_the_box_is_valid(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("0123456789abcdef")
    file = tmp_path / "edgerouter.yaml"
    file.write_text(re.sub(r"\$\{file:[^}]*\}", f"${{file:{secret}}}", FILES["/etc/edgerouter/edgerouter.yaml"]))
    (source,) = load(file, {}, plugins).sources
    assert source.raw["username"] == "edgerouter"


def test_the_broker_knows_the_routers_password_and_no_anonymous_client() -> None:
    broker = FILES["/etc/mosquitto/conf.d/edgerouter.conf"]
    assert "allow_anonymous false" in broker
    (file,) = re.findall(r"password_file (.*)", broker)
    (named,) = re.findall(r"/run/credentials/edgerouter.service/secret_([\w-]+)", FILES["/etc/edgerouter/edgerouter.yaml"])
    assert any(f"{file} edgerouter" in command and f"/etc/edgerouter/secrets/{named}" in command for command in COMMANDS)


def test_no_password_is_in_the_file_and_no_user_logs_in_with_one() -> None:
    assert not re.search(r"(?i)passw(or)?d: (?!\$\{file:|true|false)", FILE.read_text())
    assert DATA["ssh_pwauth"] is False
    assert all(user["lock_passwd"] for user in DATA["users"])


def test_the_package_keeps_the_configuration_that_is_there_and_the_service_starts() -> None:
    (install,) = [command for command in COMMANDS if "apt-get install" in command]
    assert "--force-confold" in install
    assert COMMANDS[-1] == "systemctl enable --now edgerouter"
