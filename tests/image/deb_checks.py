"""The Debian package keeps its promises on a fresh Debian, under its systemd; `.ci/deb` builds it and runs this file.

`make test` does not. The steps build on each other.
"""

import json
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish

from support.debian import Debian, booted, control_groups
from support.mosquitto import Mosquitto, running

PACKAGE = Path(os.environ.get("EDGEROUTER_DEB", ""))
UNIT = "edgerouter.service"
USER = "edgerouter"
KEPT_BY_DEBIAN = (
    "proc/",
    "var/lib/dpkg",
    "var/cache",
    "var/log",
    "etc/passwd-",
    "etc/group-",
    "etc/shadow-",
    "etc/gshadow-",
    "tmp/",
    "var/tmp",
    "var/lib/systemd",
)
"""Records of the package manager, of systemd and of the users; the user itself stays."""
DROP_IN = "etc/systemd/system/edgerouter.service.d/test.conf"
MOST_EXPOSURE = 2.0

pytestmark = pytest.mark.skipif("EDGEROUTER_DEB" not in os.environ, reason="run by .ci/deb, which builds the package")


@pytest.fixture(scope="module")
def debian(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Debian]:
    groups = control_groups()
    if groups is None:
        pytest.skip("systemd needs a control group of version 2, and this machine lets us make none")
    with booted(Path(os.environ["EDGEROUTER_DEB_ROOT"]), groups, tmp_path_factory.mktemp("debian") / "console") as machine:
        yield machine


@pytest.fixture(scope="module", autouse=True)
def before(debian: Debian) -> set[str]:
    """All files before the installation."""
    return debian.files(*KEPT_BY_DEBIAN)


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mosquitto]:
    with running(tmp_path_factory.mktemp("broker"), "max_queued_messages 0", "max_inflight_messages 1000") as mosquitto:
        yield mosquitto


def arrived(debian: Debian) -> set[str]:
    file = debian.root / "var/lib/edgerouter/messages/messages.jsonl"
    return {str(json.loads(line)["payload"]) for line in file.read_text().splitlines()} if file.exists() else set()


def status(debian: Debian) -> dict[str, object]:
    found: dict[str, object] = json.loads(debian.run("edgerouter", "status", "--json", user=USER))
    return found


def send(broker: Mosquitto, payloads: list[str]) -> None:
    publish.multiple([("plant/line", each, 1, False) for each in payloads], hostname="127.0.0.1", port=broker.port)


def configure(debian: Debian, broker: Mosquitto) -> None:
    """Give the router the broker's address, a small spool, and a password that systemd passes to it."""
    secret = debian.root / "etc/edgerouter/secrets/mqtt-password"
    secret.write_text("open sesame")
    secret.chmod(0o600)
    password = "username: box\n    password: ${file:/run/credentials/edgerouter.service/secret_mqtt-password}"
    file = debian.root / "etc/edgerouter/edgerouter.yaml"
    text = file.read_text().replace("localhost:1883", f"127.0.0.1:{broker.port}\n    {password}")
    file.write_text(text.replace("max_bytes: 2GiB", "max_bytes: 1MiB"))


def higher(folder: Path) -> Path:
    """Return the same package with a higher version."""
    unpacked = folder / "unpacked"
    subprocess.run(["dpkg-deb", "--raw-extract", PACKAGE, unpacked], check=True)
    control = unpacked / "DEBIAN/control"
    control.write_text(control.read_text().replace("\nVersion: ", "\nVersion: 1:", 1))
    built = folder / "higher.deb"
    subprocess.run(["dpkg-deb", "--root-owner-group", "-Znone", "--build", unpacked, built], check=True, capture_output=True)
    return built


def install(debian: Debian, package: Path) -> None:
    # a file system of memory is mounted on its /tmp
    place = debian.root / package.name
    place.write_bytes(package.read_bytes())
    debian.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", f"/{package.name}")
    place.unlink()


def active(debian: Debian) -> bool:
    return debian.show(UNIT, "ActiveState") == "active"


def connected(debian: Debian) -> None:
    debian.until(lambda: '"connected": true' in json.dumps(status(debian)["sources"]), UNIT)


def test_it_installs_and_starts_nothing(debian: Debian) -> None:
    install(debian, PACKAGE)
    assert debian.run("edgerouter", "--version").split()[-1] in PACKAGE.name
    # nothing connects to a broker before the operator has edited the file
    assert not list(debian.root.glob("etc/systemd/system/*.wants/edgerouter.service"))
    assert not active(debian)
    assert "the configuration is valid" in debian.run("edgerouter", "check", user=USER)
    assert {"aws-sqs", "gcp-pubsub"} <= {each["name"] for each in json.loads(debian.run("edgerouter", "plugins", "--json"))}
    for secret, mode in (("etc/edgerouter/secrets", 0o700), ("var/lib/edgerouter", 0o750)):
        assert (debian.root / secret).stat().st_mode & 0o777 == mode


def test_the_service_is_ready_when_systemd_says_so_and_routes(debian: Debian, broker: Mosquitto) -> None:
    """The unit as it is, with its user, its sandbox and its credentials."""
    configure(debian, broker)
    debian.run("systemctl", "enable", "--now", UNIT)
    assert active(debian)
    connected(debian)
    assert debian.run("ps", "-o", "user=", "-p", debian.show(UNIT, "MainPID")).strip() == USER
    send(broker, ["first"])
    debian.until(lambda: arrived(debian) == {"first"}, UNIT)
    rated = re.search(r"Overall exposure level.*: ([0-9.]+)", debian.run("systemd-analyze", "security", "--no-pager", UNIT))
    assert rated is not None
    assert float(rated[1]) < MOST_EXPOSURE


def test_an_upgrade_with_a_full_spool_restarts_the_service_and_loses_nothing(
    debian: Debian, broker: Mosquitto, tmp_path: Path
) -> None:
    debian.run("edgerouter", "pause", "archive", user=USER)
    waiting = [f"{number}-" + os.urandom(1000).hex() for number in range(1000)]
    send(broker, waiting)
    # the rest waits at the broker
    debian.until(lambda: '"full"' in json.dumps(status(debian)["spool"]), UNIT)
    before = debian.show(UNIT, "MainPID")
    install(debian, higher(tmp_path))
    assert "1:" in debian.run("dpkg-query", "--showformat=${Version}", "--show", "edgerouter")
    assert f":{broker.port}" in (debian.root / "etc/edgerouter/edgerouter.yaml").read_text()
    assert active(debian)
    assert debian.show(UNIT, "MainPID") != before
    debian.run("edgerouter", "resume", "archive", user=USER)
    debian.until(lambda: arrived(debian) == {"first", *waiting}, UNIT)


def test_the_watchdog_restarts_a_router_that_hangs(debian: Debian) -> None:
    drop_in(debian, "WatchdogSec=3", "RestartSec=100ms")
    debian.run("systemctl", "restart", UNIT)
    debian.run("kill", "-STOP", debian.show(UNIT, "MainPID"))
    debian.until(lambda: debian.show(UNIT, "NRestarts") == "1" and active(debian), UNIT)
    connected(debian)


def test_a_configuration_that_cannot_be_used_ends_the_restarts(debian: Debian) -> None:
    drop_in(debian, "Environment=EDGEROUTER__SPOOL__MAX_BYTES=much", "RestartSec=100ms")
    debian.run("systemctl", "restart", UNIT, code=1)
    assert debian.show(UNIT, "ExecMainStatus") == "2"
    assert (debian.show(UNIT, "ActiveState"), debian.show(UNIT, "NRestarts")) == ("failed", "0")
    assert "EDGEROUTER__SPOOL__MAX_BYTES" in debian.run("journalctl", "--no-pager", "--lines=5", f"--unit={UNIT}")
    (debian.root / DROP_IN).unlink()
    debian.run("systemctl", "daemon-reload")
    debian.run("systemctl", "start", UNIT)


def test_a_removal_keeps_the_spool_and_a_purge_leaves_nothing(debian: Debian, before: set[str]) -> None:
    debian.run("apt-get", "remove", "-qq", "-y", "edgerouter")
    assert not active(debian)
    assert (debian.root / "var/lib/edgerouter/spool.db").exists()
    debian.run("dpkg", "--purge", "edgerouter")
    assert debian.files(*KEPT_BY_DEBIAN) - before == set()


def drop_in(debian: Debian, *settings: str) -> None:
    """Change the unit as `systemctl edit` does."""
    file = debian.root / DROP_IN
    file.parent.mkdir(exist_ok=True)
    file.write_text("\n".join(["[Service]", *settings, ""]))
    debian.run("systemctl", "daemon-reload")
