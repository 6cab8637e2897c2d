"""The deployment files agree with edgerouter, even where no image can be built.

Covers: deploy, Containerfile, compose.yaml, .github/renovate.json.
"""

import ast
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
import yaml

import edgerouter
from edgerouter import plugins
from edgerouter.cloudblock.start import CloudBlock

ROOT = Path(__file__).resolve().parents[2]
CONTAINERFILE = (ROOT / "Containerfile").read_text()
COMPOSE = [ROOT / "compose.yaml", ROOT / "deploy/balena/docker-compose.yml"]
ROUTERS = list(zip(COMPOSE, ["router", "data_relay"], strict=True))
QUEUE = {"AWS_SQS_QUEUE_NAME": "q", "AWS_SQS_REGION": "eu-west-1", "AWS_SQS_ACCESS_KEY": "a", "AWS_SQS_SECRET_KEY": "s"}
CPU_TEMP = ROOT / "examples/cputemp"


def instructions(text: str) -> list[tuple[str, str]]:
    """Return a Containerfile's instructions, each with its arguments on joined lines."""
    lines = re.sub(r"\\\n\s*", " ", re.sub(r"(?m)^#.*\n", "", text)).splitlines()
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in lines if line.strip()]


def last_stage() -> dict[str, list[str]]:
    """Return the instructions of the stage that becomes the image."""
    stage: dict[str, list[str]] = {}
    for name, rest in instructions(CONTAINERFILE):
        if name == "FROM":
            stage = {}
        stage.setdefault(name, []).append(rest)
    return stage


def services(file: Path) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load(file.read_text())["services"]
    return found


def requirements(what: str, extras: str) -> subprocess.CompletedProcess[str]:
    script = ROOT / "deploy/requirements.py"
    return subprocess.run([sys.executable, script, what, extras], capture_output=True, text=True, timeout=30, check=False)


def test_the_image_runs_as_a_number_that_is_not_root_with_one_volume_and_a_health_check() -> None:
    stage = last_stage()
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", stage["USER"][-1])
    assert stage["VOLUME"] == ["/var/lib/edgerouter"]
    assert "edgerouter status --ready" in stage["HEALTHCHECK"][0]
    assert (stage["ENTRYPOINT"], stage["CMD"]) == (['["edgerouter"]'], ['["run"]'])


def test_the_image_is_built_in_stages_and_the_last_brings_no_tools() -> None:
    stage = last_stage()
    assert all("--from=" in copy for copy in stage["COPY"])
    assert not re.search(r"pip install|apt-get", " ".join(stage["RUN"]))
    assert ("ARG", "BASE=python:3.13-slim") in instructions(CONTAINERFILE)
    assert ("ARG", "EXTRAS=all") in instructions(CONTAINERFILE)


def test_the_labels_name_this_version_and_licence() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    labels = dict(re.findall(r'org\.opencontainers\.image\.(\w+)="([^"]*)"', last_stage()["LABEL"][0]))
    assert labels["version"] == edgerouter.__version__
    assert (labels["licenses"], labels["description"]) == (project["license"], project["description"])


def test_every_builder_can_build_it() -> None:
    """Balena's builder has no BuildKit, and its `ARG` accepts one name."""
    for name, rest in instructions(CONTAINERFILE):
        assert not (name in {"RUN", "COPY"} and re.search(r"--mount|--parents|--link|<<", rest)), rest
        assert not (name == "ARG" and len(rest.split("=")[0].split()) > 1), rest


def test_each_extra_brings_its_own_plugin_and_its_packages_from_this_repository_alone() -> None:
    everything = requirements("folders", "all").stdout.split()
    assert everything == sorted(map(str, [ROOT, *(file.parent for file in ROOT.glob("plugins/*/pyproject.toml"))]))
    assert requirements("folders", "aws").stdout.split() == [str(ROOT), str(ROOT / "plugins/edgerouter-aws")]
    core, aws = (requirements("third-party", extras).stdout.splitlines() for extras in ("", "aws"))
    assert any(line.startswith("aiobotocore") for line in aws)
    assert not any(line.startswith("aiobotocore") for line in core)
    assert not any(line.startswith("edgerouter") for line in core + aws)


def test_an_extra_that_does_not_exist_ends_the_build() -> None:
    answer = requirements("third-party", "asw")
    assert answer.returncode == 1
    assert "no extra asw" in answer.stderr


def test_docker_and_podman_leave_out_the_same_files() -> None:
    assert (ROOT / ".dockerignore").read_text() == (ROOT / ".containerignore").read_text()


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.parent.name)
def test_three_services_start_without_privileges(file: Path) -> None:
    found = services(file)
    assert len(found) == 3
    assert "mqtt" in found
    for service in found.values():
        assert not {"privileged", "network_mode", "pid", "devices", "cap_add", "user"} & set(service)


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.parent.name)
def test_a_broker_without_passwords_is_not_published_beyond_the_host(file: Path) -> None:
    assert "allow_anonymous true" in (ROOT / "deploy/mosquitto.conf").read_text()
    published = [port for service in services(file).values() for port in service.get("ports", [])]
    assert [port for port in published if not str(port).startswith("127.0.0.1:")] == []


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.parent.name)
def test_what_is_built_and_mounted_is_there(file: Path) -> None:
    """In balena's file, paths start at the repository's root, where the file is copied to."""
    volumes = yaml.safe_load(file.read_text())["volumes"]
    for service in services(file).values():
        if "build" in service:
            context = ROOT / service["build"]["context"]
            assert (context / service["build"]["dockerfile"]).is_file()
        for mount in service.get("volumes", []):
            name = mount.split(":")[0]
            assert name in volumes or (ROOT / name).is_file(), mount


@pytest.mark.parametrize(("file", "name"), ROUTERS)
def test_the_router_has_its_volume_a_root_that_is_read_only_and_time_to_drain(file: Path, name: str) -> None:
    router = services(file)[name]
    assert router["read_only"] is True
    assert [mount.split(":")[1] for mount in router["volumes"]] == last_stage()["VOLUME"]
    grace = CloudBlock({**router["environment"], **QUEUE}).load(plugins).shutdown.grace
    assert float(router["stop_grace_period"].removesuffix("s")) > grace


@pytest.mark.parametrize(("file", "name"), ROUTERS)
def test_the_routers_variables_are_a_valid_configuration(file: Path, name: str) -> None:
    """Valid unchanged if the file itself asks for a sink, and with a cloud's variables added."""
    environment = services(file)[name]["environment"]
    fleet = {} if name == "router" else {"RELAY_OUT_TOPIC": "cpu_temp"}
    config = CloudBlock({**fleet, **environment, **QUEUE}).load(plugins)
    (source,) = config.sources
    assert source.raw["topics"] == ["cpu_temp"]
    assert {"aws-sqs"} <= {sink.type for sink in config.sinks}
    if name == "router":
        assert [sink.type for sink in CloudBlock(environment).load(plugins).sinks] == ["stdout"]


@pytest.mark.parametrize("file", COMPOSE, ids=lambda file: file.parent.name)
def test_the_devices_variables_are_those_that_it_reads(file: Path) -> None:
    source = ast.parse((CPU_TEMP / "cputemp.py").read_text())
    read = {node.value for node in ast.walk(source) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    assert set(services(file)["data_source"]["environment"]) <= read
    rows = (CPU_TEMP / "README.md").read_text()
    assert {name for name in read if re.fullmatch(r"[A-Z]+(_[A-Z]+)+", name)} <= set(re.findall(r"`([A-Z_]+)`", rows))


def test_balenas_fleet_gets_the_topic_that_the_device_publishes_to() -> None:
    fleet = yaml.safe_load((ROOT / "deploy/balena/balena.yml").read_text())
    assert {"RELAY_OUT_TOPIC": "cpu_temp"} in fleet["data"]["applicationEnvironmentVariables"]
    assert fleet["version"] == edgerouter.__version__


PINNING = {
    "dockerfile": "examples/*/Containerfile",
    "docker-compose": "deploy/*/*compose.y*ml",
    "quadlet": "deploy/**/*.container",
    "npm": ".ci/*/package.json",
    "github-actions": ".github/workflows/*.yml",
    "pip_requirements": "constraints.txt",
}
"""Managers of Renovate, and the files that pin something for each."""


def test_renovate_reads_every_kind_of_file_that_pins_a_version_in_the_examples_too() -> None:
    """Its recommended settings leave out a folder `examples`, unless the configuration says what to ignore."""
    config = json.loads((ROOT / ".github/renovate.json").read_text())
    assert all(any(ROOT.glob(pattern)) for pattern in PINNING.values())
    assert set(config["enabledManagers"]) == PINNING.keys()
    assert config["ignorePaths"] == ["**/node_modules/**"]


def test_renovate_asks_no_registry_for_an_image_that_is_built_here() -> None:
    """Another publisher could have registered the name there."""
    rules = json.loads((ROOT / ".github/renovate.json").read_text())["packageRules"]
    (ours,) = [re.compile(name.strip("/")) for rule in rules if rule.get("enabled") is False for name in rule["matchPackageNames"]]
    built = {
        service["image"]
        for file in [ROOT / "compose.yaml", *ROOT.glob("deploy/*/*compose.y*ml")]
        for service in services(file).values()
        if "build" in service and "image" in service
    }
    (unit,) = re.findall(r"(?m)^Image=(.*):", (ROOT / "deploy/quadlet/edgerouter.container").read_text())
    assert built == {"edgerouter", "edgerouter-nats"}
    assert all(ours.match(image) for image in [*built, unit])
    assert not ours.match("docker.io/library/eclipse-mosquitto")
