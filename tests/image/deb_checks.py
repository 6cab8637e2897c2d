"""The Debian package keeps its promises on a fresh Debian; `.ci/deb` builds it and runs this file, `make test` does not.

The steps build on each other. systemd does not run there: the test starts the unit's program as the unit's user.
"""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from paho.mqtt import publish

from support.debian import Debian, Service, service
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
)
"""Records of the package manager and of the users; the user itself stays."""

pytestmark = pytest.mark.skipif("EDGEROUTER_DEB" not in os.environ, reason="run by .ci/deb, which builds the package")


@pytest.fixture(scope="module")
def debian() -> Debian:
    return Debian(Path(os.environ["EDGEROUTER_DEB_ROOT"]))


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
    file = debian.root / "etc/edgerouter/edgerouter.yaml"
    text = file.read_text().replace("localhost:1883", f"127.0.0.1:{broker.port}")
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
    place = debian.root / "tmp" / package.name
    place.write_bytes(package.read_bytes())
    debian.run("apt-get", "install", "-qq", "-y", "--no-install-recommends", f"/tmp/{package.name}")
    place.unlink()


def connected(debian: Debian, running: Service) -> None:
    running.wait_for("READY=1")
    running.until(lambda: '"connected": true' in json.dumps(status(debian)["sources"]))


def test_it_installs_routes_upgrades_with_a_full_spool_and_leaves_nothing(
    debian: Debian, broker: Mosquitto, tmp_path: Path
) -> None:
    before = debian.files(*KEPT_BY_DEBIAN)
    install(debian, PACKAGE)
    assert debian.run("edgerouter", "--version").split()[-1] in PACKAGE.name
    # nothing connects to a broker before the operator has edited the file
    assert not list(debian.root.glob("etc/systemd/system/*.wants/edgerouter.service"))
    assert "the configuration is valid" in debian.run("edgerouter", "check", user=USER)
    assert {"aws-sqs", "gcp-pubsub"} <= {each["name"] for each in json.loads(debian.run("edgerouter", "plugins", "--json"))}
    for secret, mode in (("etc/edgerouter/secrets", 0o700), ("var/lib/edgerouter", 0o750)):
        assert (debian.root / secret).stat().st_mode & 0o777 == mode

    configure(debian, broker)
    with service(debian, UNIT, tmp_path / "first.log") as first:
        connected(debian, first)
        send(broker, ["first"])
        first.until(lambda: arrived(debian) == {"first"})
        debian.run("edgerouter", "pause", "archive", user=USER)
        waiting = [f"{number}-" + os.urandom(1000).hex() for number in range(1000)]
        send(broker, waiting)
        # the rest waits at the broker
        first.until(lambda: '"full"' in json.dumps(status(debian)["spool"]))

    install(debian, higher(tmp_path))
    assert "1:" in debian.run("dpkg-query", "--showformat=${Version}", "--show", "edgerouter")
    assert f":{broker.port}" in (debian.root / "etc/edgerouter/edgerouter.yaml").read_text()
    with service(debian, UNIT, tmp_path / "second.log") as second:
        connected(debian, second)
        debian.run("edgerouter", "resume", "archive", user=USER)
        second.until(lambda: arrived(debian) == {"first", *waiting})

    debian.run("apt-get", "remove", "-qq", "-y", "edgerouter")
    assert (debian.root / "var/lib/edgerouter/spool.db").exists()
    debian.run("dpkg", "--purge", "edgerouter")
    assert debian.files(*KEPT_BY_DEBIAN) - before == set()
