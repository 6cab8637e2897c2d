"""The units for Podman agree with each other, with the image and with the router, and Podman's generator takes them.

Covers: deploy/quadlet, docs/how-to/run-with-podman.md.
"""

import configparser
import os
import subprocess
from pathlib import Path

import pytest

from edgerouter.config.model import ShutdownConfig, SpoolConfig

ROOT = Path(__file__).resolve().parents[3]
FOLDER = ROOT / "deploy/quadlet"
GENERATORS = (ROOT / ".tools/quadlet", Path("/usr/libexec/podman/quadlet"), Path("/usr/lib/podman/quadlet"))
GENERATOR = next((path for path in GENERATORS if path.exists()), None)


def sections(name: str) -> dict[str, dict[str, list[str]]]:
    """Return the sections of a unit: settings with all their values."""
    found: dict[str, dict[str, list[str]]] = {}
    section: dict[str, list[str]] = {}
    for line in (FOLDER / name).read_text().splitlines():
        if line.startswith("["):
            section = found.setdefault(line.strip("[]"), {})
        elif line and not line.startswith("#"):
            key, _, value = line.partition("=")
            section.setdefault(key, []).append(value)
    return found


@pytest.mark.skipif(GENERATOR is None, reason="Podman 4.4 or newer is not installed; unpack it with: .ci/install-debian-tools")
def test_podmans_generator_takes_all_of_them() -> None:
    command = [str(GENERATOR), "-dryrun"]
    environment = {**os.environ, "QUADLET_UNIT_DIRS": str(FOLDER)}
    made = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert made.returncode == 0, made.stderr
    assert made.stdout.count("ExecStart=") == len(list(FOLDER.iterdir()))


@pytest.mark.parametrize("name", ["edgerouter.container", "mosquitto.container"])
def test_a_unit_names_only_networks_and_volumes_that_are_there(name: str) -> None:
    container = sections(name)["Container"]
    named = [*container["Network"], *(volume.split(":")[0] for volume in container["Volume"])]
    assert [each for each in named if not each.startswith("/") and not (FOLDER / each).is_file()] == []


def test_the_router_runs_without_privileges_on_its_volume_and_ends_in_time() -> None:
    unit = sections("edgerouter.container")
    container, service = unit["Container"], unit["Service"]
    assert (container["ReadOnly"], container["DropCapability"], container["NoNewPrivileges"]) == (["true"], ["ALL"], ["true"])
    assert f"edgerouter-spool.volume:{SpoolConfig().path}" in container["Volume"]
    assert (service["Restart"], service["RestartPreventExitStatus"]) == (["on-failure"], ["2"])
    (arguments,) = container["PodmanArgs"]
    grace = ShutdownConfig().grace
    assert grace < float(arguments.removeprefix("--stop-timeout ")) < float(service["TimeoutStopSec"][0])


@pytest.mark.parametrize("file", sorted(FOLDER.iterdir()), ids=lambda file: file.name)
def test_every_file_is_a_unit(file: Path) -> None:
    parser = configparser.ConfigParser(strict=False, interpolation=None, delimiters=["="])
    parser.read(file)
    assert parser.has_section(file.suffix.removeprefix(".").capitalize())
